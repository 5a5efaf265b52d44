"""Rated recordings, one corpus at a time, each on its own rating scale."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from urgentmos.data.label_table import merge_tables
from urgentmos.data.manifest import Recording, read_lines, read_manifest
from urgentmos.data.manifest_fields import parse_metrics, parse_text, wrong_value
from urgentmos.ndarray import NDArray

Scale = tuple[float, float]
"""Lowest and highest rating possible."""

FIVE_POINT: Scale = (1.0, 5.0)
"""Scale of absolute category ratings (ITU-T P.800)."""

Rated = tuple[Recording, Scale]

_RATED_FIELDS = ("audio_path", "uid", "system_id", "reference_id", "duration", "rating")
_NOT_META = (*_RATED_FIELDS, "metrics", "meta")
# A minus stands at the start or after a space: elsewhere it is a hyphen, as in ACR-1-5.
_SCALE = re.compile(r"((?:(?<!\S)-)?\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*$")


class RatingError(ValueError):
    """Ratings cannot be used; the message names file, line and what was expected."""


@dataclass(frozen=True)
class RatedCorpus:
    """The recordings of one listening test.

    Ratings of different corpora are never compared: listeners, scales and instructions differ.

    Attributes:
        name: Corpus.
        recordings: Its recordings; the rating is the label ``mos``, whatever the scale.
        scale: Lowest and highest rating possible.
    """

    name: str
    recordings: Sequence[Recording]
    scale: Scale = FIVE_POINT

    @property
    def ratings(self) -> Float[NDArray[np.float64], " recordings"]:
        """Rating of each recording; NaN where there is none."""
        return self.labels("mos")

    def labels(self, metric: str) -> Float[NDArray[np.float64], " recordings"]:
        """Label of each recording on one metric; NaN where there is none."""
        return np.array([r.metrics.get(metric, np.nan) for r in self.recordings], dtype=float)

    def rescale_delta(self, delta: float) -> float:
        """Turn a difference on a five-point scale into the same share of this corpus's scale."""
        low, high = self.scale
        return delta * (high - low) / (FIVE_POINT[1] - FIVE_POINT[0])


def read_rated_corpora(
    manifests: str | Path | Sequence[str | Path],
    *,
    labels: Sequence[str | Path] = (),
    split: str | None = None,
) -> list[RatedCorpus]:
    """Read the corpora of one manifest or of several.

    Two forms are read. The public one keeps the rating under ``metrics.mos_overall`` on a
    five-point scale and the corpus under ``meta.corpus``. The other has ``rating``, ``scale`` (text
    that ends with the range, as ``MUSHRA 0-100``) and ``corpus`` beside the path, further labels
    under ``metrics``, and any further field; a rating that is null or NaN is missing. What stands
    beside the path there, but for the rating and what says which recording it is of, may as well
    stand in ``meta``.

    Args:
        manifests: JSON lines; relative audio paths, and those of references (``reference_path``),
            resolve against the folder of each.
        labels: Label tables to merge into manifests of the public form, once over all of them.
        split: Keep only recordings whose ``meta.split`` is this one.

    Returns:
        Corpora of each manifest in order of first appearance; the file's name where a recording
        names none.

    Raises:
        RatingError: A rating lies outside its scale, a scale has no range, one corpus has two
            scales, a field is missing, or is one thing beside the rating and another in ``meta``, a
            uid comes twice in a corpus, nothing is left of a manifest, or there are label tables
            for one with ratings.
        ManifestError: A line is no JSON object, the public form, ``metrics``, ``meta`` or
            ``reference_path`` is broken, or label tables cannot be merged, see ``merge_tables``.
    """
    stated = [manifests] if isinstance(manifests, str | Path) else manifests
    read = [(path, _read_rated(path, labels=labels)) for path in map(Path, stated)]
    merge_tables([(path, [recording for recording, _ in rated]) for path, rated in read], labels)
    return [corpus for path, rated in read for corpus in _divide(rated, path, split=split)]


def _read_rated(path: Path, *, labels: Sequence[str | Path]) -> list[Rated]:
    if not _has_ratings(path):
        return [(recording, FIVE_POINT) for recording in read_manifest(path)]
    if labels:
        raise RatingError(f"{path}: label tables merge into manifests with 'metrics' only")
    return [_parse_rated(record, path, number) for number, record in read_lines(path)]


def _divide(rated: Sequence[Rated], path: Path, *, split: str | None) -> list[RatedCorpus]:
    """Divide the recordings of a manifest that are of a split into corpora."""
    chosen = [row for row in rated if split is None or row[0].meta.get("split") == split]
    if not chosen:
        if not rated:
            raise RatingError(f"{path}: expected recordings, got none")
        splits = [recording.meta.get("split") for recording, _ in rated]
        stated = sorted({str(each) for each in splits if each is not None})
        found = f"it has the splits {stated}" if stated else "no recording states one (meta.split)"
        raise RatingError(f"{path}: expected recordings of split {split!r}; {found}")
    by_corpus: dict[str, list[Rated]] = {}
    for row in chosen:
        name = row[0].meta.get("corpus")
        by_corpus.setdefault(path.stem if name is None else str(name), []).append(row)
    return [_build_corpus(name, rows, path) for name, rows in by_corpus.items()]


def _build_corpus(name: str, rows: Sequence[Rated], path: Path) -> RatedCorpus:
    scales = sorted({scale for _, scale in rows})
    if len(scales) > 1:
        raise RatingError(f"{path}: corpus {name!r} has ratings on several scales: {scales}")
    low, high = scales[0]
    seen: set[str] = set()
    for recording, _ in rows:
        if recording.uid in seen:
            raise RatingError(f"{path}: uid {recording.uid!r} comes twice in corpus {name!r}")
        seen.add(recording.uid)
        rating = recording.metrics.get("mos", low)
        if not low <= rating <= high:
            raise RatingError(
                f"{path}: {recording.uid!r}: expected a rating in {low:g} to {high:g}, "
                f"got {rating:g}"
            )
    return RatedCorpus(name, [recording for recording, _ in rows], scales[0])


def _has_ratings(path: Path) -> bool:
    first = next(read_lines(path), None)
    return first is not None and "rating" in first[1]


def _parse_rated(record: dict[str, Any], path: Path, number: int) -> Rated:
    where = f"{path}:{number}"
    missing = [name for name in _RATED_FIELDS if name not in record]
    if missing:
        raise RatingError(
            f"{where}: {missing[0]!r} is missing; expected {', '.join(_RATED_FIELDS)}"
        )
    # The rating is the label ``mos``, on its own scale.
    labels = parse_metrics(record.get("metrics") or {}, where=where)
    labels.pop("mos", None)
    meta = _gather_meta(record, where=where)
    if meta.get("reference_path") is not None:
        reference = parse_text(meta["reference_path"], "reference_path", where)
        meta["reference_path"] = str(path.parent / reference)
    try:
        rating = math.nan if record["rating"] is None else float(record["rating"])
        recording = Recording(
            audio_path=path.parent / record["audio_path"],
            uid=str(record["uid"]),
            system_id=str(record["system_id"]),
            reference_id=str(record["reference_id"]),
            duration=float(record["duration"]),
            metrics=labels if math.isnan(rating) else {"mos": rating, **labels},
            meta=meta,
        )
    except (TypeError, ValueError) as error:
        raise RatingError(f"{where}: expected text and numbers, got {record}: {error}") from error
    return recording, _parse_scale(meta.get("scale"), where=where)


def _gather_meta(record: dict[str, Any], *, where: str) -> dict[str, Any]:
    """Take what stands beside the rating and what stands in ``meta``; null states nothing."""
    meta = {} if record.get("meta") is None else record["meta"]
    if not isinstance(meta, dict):
        raise wrong_value("meta", "an object", meta, where=where)
    gathered = dict(meta)
    for name, value in record.items():
        if name in _NOT_META or (value is None and name in meta):
            continue
        # Whichever won, corpora or splits could be others than somebody reads there.
        if meta.get(name) is not None and meta[name] != value:
            raise RatingError(
                f"{where}: {name!r} is {value!r} beside the rating and {meta[name]!r} in 'meta'; "
                "state it once"
            )
        gathered[name] = value
    return gathered


def _parse_scale(scale: object, *, where: str) -> Scale:
    if scale is None:
        return FIVE_POINT
    match = _SCALE.search(str(scale))
    if match is None or not float(match[1]) < float(match[2]):
        raise RatingError(
            f"{where}: scale: expected text that ends with a range, as 'ACR 1-5', got {scale!r}"
        )
    return float(match[1]), float(match[2])
