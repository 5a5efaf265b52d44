"""Rows of a recipe to manifests: checked, measured, counted.

Nothing is dropped silently: what cannot be used is a problem with a kind, a place and a count.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from urgentmos.audio import AudioError, measure_duration_s
from urgentmos.data.corpora.recipe import (
    FIVE_POINT,
    NO_SYSTEM,
    Expected,
    JudgedPair,
    Problems,
    RatedFile,
    Recipe,
)
from urgentmos.data.manifest import Pair, Recording, relative_path, write_manifest, write_pairs
from urgentmos.data.manifest_fields import public_metrics
from urgentmos.name_bytes import JSON_ERRORS


@dataclass(frozen=True)
class Count:
    """What was found of one split of one listening test."""

    corpus: str
    split: str
    samples: int
    hours: float
    systems: int


@dataclass(frozen=True)
class Prepared:
    """A corpus that was read.

    Attributes:
        recordings: By listening test.
        pairs: By split.
        counts: Per listening test and split.
        problems: What could not be used.
    """

    recordings: dict[str, list[Recording]]
    pairs: dict[str, list[Pair]]
    counts: list[Count]
    problems: Problems


def prepare(recipe: Recipe, folder: str | Path, output: str | Path) -> Prepared:
    """Read a corpus and write its manifests.

    Rated corpora become ``OUTPUT/<listening test>.jsonl``, paired ones
    ``OUTPUT/<name>_<split>.jsonl``. Ratings on another scale than 1 to 5 are written as
    ``rating`` and ``scale`` beside the path, which ``urgentmos evaluate`` reads; further ratings
    as ``metrics``.

    Args:
        recipe: How to read it.
        folder: The corpus as distributed.
        output: Folder for the manifests, and for audio that a corpus keeps inside tables.
    """
    folder, output, problems = Path(folder), Path(output), Problems()
    output.mkdir(parents=True, exist_ok=True)
    rows = list(recipe.read(folder, output, problems))
    rated = [row for row in rows if isinstance(row, RatedFile)]
    durations = _Durations(problems)
    recordings = _build_recordings(rated, recipe, durations, problems)
    pairs = _build_pairs([row for row in rows if isinstance(row, JudgedPair)], durations, problems)
    for corpus, members in recordings.items():
        path = output / f"{corpus}.jsonl"
        if recipe.scale == FIVE_POINT:
            write_manifest(path, members)
        else:
            _write_rated(path, members, recipe.scale)
    for split, judged in pairs.items():
        write_pairs(output / f"{recipe.name}_{split}.jsonl", judged)
    counts = [*_count_recordings(recordings), *_count_pairs(recipe.name, pairs)]
    return Prepared(recordings, pairs, counts, problems)


def compare_counts(recipe: Recipe, counts: Sequence[Count]) -> list[str]:
    """Say what was found per listening test and split, and where published counts differ."""
    lines = []
    expected = {(item.corpus or recipe.name, item.split): item for item in recipe.expected}
    for count in counts:
        found = f"{count.samples:,} samples, {count.hours:.2f} h, {count.systems} systems"
        published = expected.pop((count.corpus, count.split), None)
        lines.append(f"{count.corpus} {count.split}: {found}{_difference(count, published)}")
    lines += [
        f"{corpus} {split}: nothing found; published: {item.samples:,} samples"
        for (corpus, split), item in expected.items()
    ]
    return lines


class _Durations:
    """Durations of audio files, each file opened once."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._known: dict[Path, float | None] = {}

    def of(self, path: Path) -> float | None:
        """Seconds; None, and noted, where there is no file or it is no audio."""
        if path not in self._known:
            self._known[path] = self._measure(path)
        return self._known[path]

    def _measure(self, path: Path) -> float | None:
        if not path.is_file():
            self._problems.add("missing file", path)
            return None
        try:
            duration = measure_duration_s(path)
        except AudioError as error:
            self._problems.add("unreadable audio", f"{path}: {error}")
            return None
        if not duration > 0:
            self._problems.add("empty audio", path)
            return None
        return duration


def _build_recordings(
    rows: Sequence[RatedFile], recipe: Recipe, durations: _Durations, problems: Problems
) -> dict[str, list[Recording]]:
    recordings: dict[str, list[Recording]] = {}
    seen: set[tuple[str, str]] = set()
    low, high = recipe.scale
    for row in rows:
        corpus = row.corpus or recipe.name
        uid = ":".join(filter(None, (row.system, row.reference, row.variant)))
        if row.rating is not None and not low <= row.rating <= high:
            problems.add("rating out of range", f"{row.path}: {row.rating:g}")
        elif (corpus, uid) in seen:
            problems.add("duplicate id", f"{uid}: {row.path}")
        elif (duration := durations.of(row.path)) is not None:
            seen.add((corpus, uid))
            recordings.setdefault(corpus, []).append(_recording(row, corpus, uid, duration))
    return recordings


def _recording(row: RatedFile, corpus: str, uid: str, duration: float) -> Recording:
    known = {"votes": row.votes, "speaker": row.speaker}
    return Recording(
        audio_path=row.path,
        uid=uid,
        system_id=row.system,
        reference_id=row.reference,
        duration=duration,
        metrics=({} if row.rating is None else {"mos": row.rating}) | dict(row.metrics),
        meta={"corpus": corpus, "split": row.split}
        | {name: value for name, value in known.items() if value is not None}
        | dict(row.meta),
    )


def _build_pairs(
    rows: Sequence[JudgedPair], durations: _Durations, problems: Problems
) -> dict[str, list[Pair]]:
    pairs: dict[str, list[Pair]] = {}
    for row in rows:
        first, second = durations.of(row.a), durations.of(row.b)
        if row.a == row.b:
            problems.add("recording paired with itself", row.a)
        elif first is not None and second is not None:
            pair = Pair(row.a, row.b, float(row.preference), (first, second))
            pairs.setdefault(row.split, []).append(pair)
        else:
            problems.add("pair without its audio", f"{row.a}, {row.b}")
    return pairs


def _write_rated(path: Path, recordings: Sequence[Recording], scale: tuple[float, float]) -> None:
    with path.open("w", encoding="utf-8", errors=JSON_ERRORS) as file:
        for recording in recordings:
            metrics = public_metrics(recording.metrics)
            rating = metrics.pop("mos_overall", None)
            line = {
                "audio_path": relative_path(recording.audio_path.resolve(), path.parent.resolve()),
                "uid": recording.uid,
                "system_id": recording.system_id,
                "reference_id": recording.reference_id,
                "duration": recording.duration,
                "rating": rating,
                "scale": f"{scale[0]:g}-{scale[1]:g}",
                **({"metrics": metrics} if metrics else {}),
            } | recording.meta
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def _count_recordings(recordings: Mapping[str, Sequence[Recording]]) -> Iterator[Count]:
    for corpus, members in recordings.items():
        for split in dict.fromkeys(recording.meta["split"] for recording in members):
            chosen = [recording for recording in members if recording.meta["split"] == split]
            systems = {recording.system_id for recording in chosen} - {NO_SYSTEM}
            hours = math.fsum(recording.duration for recording in chosen) / 3600
            yield Count(corpus, split, len(chosen), hours, len(systems))


def _count_pairs(name: str, pairs: Mapping[str, Sequence[Pair]]) -> Iterator[Count]:
    for split, judged in pairs.items():
        durations = {
            path: duration
            for pair in judged
            for path, duration in zip((pair.a, pair.b), pair.durations, strict=True)
        }
        yield Count(name, split, len(judged), math.fsum(durations.values()) / 3600, 0)


def _difference(count: Count, published: Expected | None) -> str:
    if published is None:
        return " (no published count)"
    parts = []
    if count.samples != published.samples:
        parts.append(f"{count.samples - published.samples:+,} samples")
    # Published hours have two decimals.
    if published.hours is not None and abs(count.hours - published.hours) > 0.005:
        parts.append(f"{count.hours - published.hours:+.2f} h")
    if published.systems is not None and count.systems != published.systems:
        parts.append(f"{count.systems - published.systems:+} systems")
    return f" (published: {', '.join(parts)})" if parts else " (as published)"
