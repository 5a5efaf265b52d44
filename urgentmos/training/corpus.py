"""The recordings of a run, split into training and validation."""

import hashlib
import itertools
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from urgentmos.data.hashing import lot
from urgentmos.data.label_table import merge_tables
from urgentmos.data.manifest import ManifestError, Pair, Recording, read_manifest, read_pairs
from urgentmos.data.pairs import NativePairs, families, is_graded
from urgentmos.data.references import References, list_references
from urgentmos.data.waveforms import (
    DecodedWaveforms,
    SelectedWaveforms,
    Waveforms,
    open_cache,
)
from urgentmos.metrics import METRICS
from urgentmos.name_bytes import name_bytes
from urgentmos.ndarray import NDArray
from urgentmos.training.config import DataConfig

Bounds = tuple[float | None, float | None]

_SIDES = ("train", "validation")
_LEFT_OUT = "test"


@dataclass
class Split:
    """One side of the split.

    Attributes:
        recordings: Its recordings.
        waveforms: Their waveforms.
        positions: Their places among all recordings of the corpus.
    """

    recordings: list[Recording]
    waveforms: Waveforms
    positions: NDArray[np.int64]


@dataclass
class Corpus:
    """What a run trains and validates on.

    Attributes:
        train: Training recordings.
        validation: Held-out recordings.
        recordings: Those of both, in the order of ``waveforms``.
        waveforms: Waveforms of both.
        digest: Changes with any uid, label, split or native pair, with what is known to differ
            in strength alone, and with the file names of references, where they are asked for; not
            with the names of families.
        native: Pairs of training recordings that were rated as pairs; None where there are none.
        references: Those of the training recordings; None where they were not asked for.
    """

    train: Split
    validation: Split
    recordings: list[Recording]
    waveforms: Waveforms
    digest: str
    native: NativePairs | None = None
    references: References | None = None


def load_corpus(
    config: DataConfig,
    *,
    metrics: list[str],
    mos_bounds: Bounds = (None, None),
    with_references: bool = False,
) -> Corpus:
    """Read manifests and labels, split them and open their audio.

    Args:
        config: Where they are.
        metrics: Metrics of the model; each must have a label to train on.
        mos_bounds: Range of its ``mos`` head, in which ratings must lie. Computed labels may lie
            beyond that of their head, which is as far as they count.
        with_references: Open the references of the training recordings too.

    Raises:
        ManifestError: A manifest breaks its format, a uid is in two of them although there are
            label tables, a split has an unknown name, a side is empty, a recording or a reference
            is not there, a metric has no label at all, or a rating is on another scale.
    """
    by_manifest = _read_labelled(config)
    recordings = list(itertools.chain.from_iterable(by_manifest))
    pair_sets = [read_pairs(manifest) for manifest in config.pair_manifests]
    pairs = list(itertools.chain.from_iterable(pair_sets))
    sides = np.array([_side(r, share=config.validation_share) for r in recordings])
    num_by_side = Counter(sides.tolist())
    # After the split, which stays where another manifest comes beside the first.
    _name_corpora(by_manifest, config.manifests)
    # Recordings of another split (test) are left out before anything is decoded.
    used = [r for r, side in zip(recordings, sides, strict=True) if side in _SIDES]
    if "mos" in metrics:
        _check_ratings(used, mos_bounds)
    used += _members(pairs)
    sides = np.array([side for side in sides if side in _SIDES] + ["train"] * (2 * len(pairs)))
    # Before the audio is decoded, which may take hours.
    _check_sides(num_by_side, num_pairs=len(pairs))
    _check_labels([r for r, side in zip(used, sides, strict=True) if side == "train"], metrics)
    _check_plausible(used, metrics)
    waveforms = _open(config, used)
    train, validation = (_select(used, waveforms, np.flatnonzero(sides == s)) for s in _SIDES)
    return Corpus(
        train=train,
        validation=validation,
        recordings=used,
        waveforms=waveforms,
        digest=_digest(used, sides.tolist(), pairs, with_references=with_references),
        native=_native(pair_sets, num_train=len(train.recordings)),
        references=_open_references(config, train) if with_references else None,
    )


def _read_labelled(config: DataConfig) -> list[list[Recording]]:
    by_manifest = [read_manifest(manifest) for manifest in config.manifests]
    merge_tables(list(zip(config.manifests, by_manifest, strict=True)), config.labels)
    return by_manifest


def _name_corpora(by_manifest: list[list[Recording]], manifests: list[str]) -> None:
    """Name the corpus of recordings that state none by their manifest, where there are several.

    Otherwise two listening tests would count as one, and be paired sentence by sentence.
    """
    if len(manifests) == 1:
        return
    stems = Counter(Path(manifest).stem for manifest in manifests)
    for number, (manifest, recordings) in enumerate(zip(manifests, by_manifest, strict=True)):
        stem = Path(manifest).stem
        name = stem if stems[stem] == 1 else f"{stem} {number}"
        for recording in recordings:
            if recording.meta.get("corpus") is None:
                recording.meta["corpus"] = name


def _open(
    config: DataConfig, recordings: list[Recording], *, what: str = "recordings"
) -> Waveforms:
    if config.cache:
        return open_cache(config.cache, recordings)
    # A missing file is told before hours of training, as by a cache, and not when its turn comes.
    missing = [r.audio_path for r in recordings if not r.audio_path.exists()]
    if missing:
        raise ManifestError(
            f"{len(missing)} of {len(recordings)} {what} have no audio file, the first is "
            f"{missing[0]}"
        )
    return DecodedWaveforms(recordings)


def _open_references(config: DataConfig, train: Split) -> References:
    references, places = list_references(train.recordings)
    if not references:
        raise ManifestError(
            "no training recording states its reference (meta.reference_path), of which "
            "objectives.reference_spectra learns; set it to 0, or state them"
        )
    waveforms = _open(config, references, what="references")
    return References(waveforms, places, train.waveforms.lengths)


def _side(recording: Recording, *, share: float) -> str:
    split = recording.meta.get("split")
    if split is not None:
        return str(split)
    # By content, so that no sentence is on both sides; by hash, so that adding data moves nothing.
    drawn = lot(f"{recording.meta.get('corpus')}\0{recording.reference_id}")
    return "validation" if drawn < share else "train"


def _check_sides(num_by_side: Counter[str], *, num_pairs: int) -> None:
    for name, num in num_by_side.items():
        if name not in {*_SIDES, _LEFT_OUT}:
            raise ManifestError(
                f"meta.split is {name!r} of {num} recordings: expected 'train', 'validation', or "
                f"{_LEFT_OUT!r}, which training leaves out"
            )
    # Recordings that were rated as pairs are trained on.
    filled = {"train": num_by_side["train"] + num_pairs, "validation": num_by_side["validation"]}
    for side, num in filled.items():
        if num == 0:
            there = [f"{count} in {name!r}" for name, count in sorted(num_by_side.items()) if count]
            raise ManifestError(
                f"no recording is in the {side} split: there are {', '.join(there) or 'none'}; "
                "set meta.split to 'train' and 'validation', or take it out, and "
                "data.validation_share divides the recordings"
            )


def _select(
    recordings: list[Recording], waveforms: Waveforms, positions: NDArray[np.int64]
) -> Split:
    chosen = [recordings[i] for i in positions]
    return Split(chosen, SelectedWaveforms(waveforms, positions), positions)


def _members(pairs: list[Pair]) -> list[Recording]:
    """Lay pairs out as recordings without labels: the first of a pair, the second, the next pair.

    A file that is in several pairs comes as often.
    """
    return [
        Recording(
            audio_path=path,
            uid=f"pair:{number}:{side}",
            system_id=side,
            reference_id=f"pair:{number}",
            duration=duration,
        )
        for number, pair in enumerate(pairs)
        for side, path, duration in zip("ab", (pair.a, pair.b), pair.durations, strict=True)
    ]


def _native(pair_sets: list[list[Pair]], *, num_train: int) -> NativePairs | None:
    scores = [np.array([pair.cmos for pair in pairs], dtype=float) for pairs in pair_sets]
    num_pairs = sum(map(len, scores))
    if not num_pairs:
        return None
    # The members are the last of the training recordings.
    first = num_train - 2 * num_pairs + 2 * np.arange(num_pairs)
    graded = [np.full(len(cmos), is_graded(cmos)) for cmos in scores]
    return NativePairs(
        a=first, b=first + 1, cmos=np.concatenate(scores), graded=np.concatenate(graded)
    )


def _check_labels(recordings: list[Recording], metrics: list[str]) -> None:
    labelled = sorted({name for recording in recordings for name in recording.metrics})
    for name in metrics:
        if name not in labelled:
            raise ManifestError(
                f"no training recording has a {name!r} label, so its head would stay untrained; "
                "label it or take it out of model.groups (labelled: "
                f"{', '.join(labelled) or 'nothing'})"
            )


def _check_plausible(recordings: list[Recording], metrics: list[str]) -> None:
    """Refuse labels so far out of their metric's range that they are on another scale.

    Of ``mos`` the model may state another range, see `_check_ratings`.
    """
    for name in (metric for metric in metrics if metric != "mos"):
        metric = METRICS[name]
        low = -math.inf if metric.low is None else metric.low - metric.scale / 2
        high = math.inf if metric.high is None else metric.high + metric.scale / 2
        odd = [r for r in recordings if name in r.metrics and not low <= r.metrics[name] <= high]
        if odd:
            raise ManifestError(
                f"{len(odd)} {name!r} labels cannot be, the first is {odd[0].metrics[name]:g}, of "
                f"{odd[0].uid!r}: expected {low:g} to {high:g}"
            )


def _check_ratings(recordings: list[Recording], bounds: Bounds) -> None:
    low = -math.inf if bounds[0] is None else bounds[0]
    high = math.inf if bounds[1] is None else bounds[1]
    rated = [recording for recording in recordings if "mos" in recording.metrics]
    outside = [r for r in rated if r.metrics["mos"] < low or r.metrics["mos"] > high]
    if outside:
        first = outside[0]
        raise ManifestError(
            f"{len(outside)} of {len(rated)} 'mos' labels lie outside {low:g} to {high:g}, the "
            f"first is {first.metrics['mos']:g}, of {first.uid!r}; bring ratings to this scale, or "
            "state another in model.bounds.mos"
        )


def _digest(
    recordings: list[Recording], sides: list[str], pairs: list[Pair], *, with_references: bool
) -> str:
    digest = hashlib.sha256()
    # Names of families mean something within their own manifest only.
    numbers, strengths = (values.tolist() for values in families(recordings))
    for recording, side, family, strength in zip(
        recordings, sides, numbers, strengths, strict=True
    ):
        known = [recording.meta.get("corpus"), *([family, strength] if family >= 0 else [])]
        if with_references:
            # Not where it lies: a corpus may be moved.
            known.append(Path(recording.meta.get("reference_path") or "").name)
        labels = {name: round(value, 6) for name, value in sorted(recording.metrics.items())}
        line = [recording.uid, recording.reference_id, side, known, labels]
        digest.update(json.dumps(line, sort_keys=True).encode() + b"\n")
    for pair in pairs:
        digest.update(name_bytes(f"{pair.a.name} {pair.b.name} {pair.cmos:.6f}\n"))
    return digest.hexdigest()
