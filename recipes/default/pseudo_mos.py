"""Write a pseudo-MOS, the label of the `mos` head, from the labels that follow listeners.

No human rating is used. The pseudo-MOS is a weighted sum of standardised labels,
``2 Distill-MOS + 0.7 DNSMOS P.808 + PESQ``, brought to the mean and spread of Distill-MOS. PESQ
counts only where the distortion keeps the waveform (noise, clipping, codecs, ...): of re-synthesis
and speech synthesis it measures the changed phase, which nobody hears. Where a label is missing,
the sum is predicted by least squares from those that are there, fitted on the recordings that have
all. ``python recipes/default/pseudo_mos.py --help``.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos.data.manifest import Recording, read_manifest, write_manifest
from urgentmos.simulate.kinds import DISTORTIONS

WEIGHTS = {"distill_mos": 2.0, "dnsmos_p808": 0.7, "pesq": 1.0}
RESYNTHESIS_STAGE = 4
LOW, HIGH = 1.0, 5.0


def keeps_phase(meta: Mapping[str, Any]) -> bool:
    """Whether a simulated recording, by its ``meta``, is its reference plus damage, in phase."""
    kinds = [step["kind"] for step in meta["distortions"]]
    return meta["origin"] == "clean" and not any(
        kind.startswith("network_") or DISTORTIONS[kind].stage == RESYNTHESIS_STAGE
        for kind in kinds
    )


def label_matrix(recordings: list[Recording]) -> np.ndarray:
    """Gather the labels of the sum, (recordings, labels), NaN where there is none to count."""
    matrix = np.full((len(recordings), len(WEIGHTS)), np.nan)
    for row, recording in enumerate(recordings):
        for column, name in enumerate(WEIGHTS):
            if name != "pesq" or keeps_phase(recording.meta):
                matrix[row, column] = recording.metrics.get(name, np.nan)
    return matrix


def pseudo_mos(labels: np.ndarray) -> np.ndarray:
    """Combine labels (recordings, labels) into one score per recording; NaN where none counts."""
    standardised = (labels - np.nanmean(labels, axis=0)) / np.nanstd(labels, axis=0)
    present = np.isfinite(standardised)
    complete = present.all(axis=1)
    total = standardised @ np.array(list(WEIGHTS.values()))
    score = np.where(complete, total, np.nan)
    columns = range(labels.shape[1])
    for size in range(1, labels.shape[1]):
        for subset in combinations(columns, size):
            chosen = (present == np.isin(columns, subset)).all(axis=1)
            design = np.c_[standardised[complete][:, subset], np.ones(complete.sum())]
            coefficients, *_ = np.linalg.lstsq(design, total[complete], rcond=None)
            inputs = np.c_[standardised[chosen][:, subset], np.ones(chosen.sum())]
            score[chosen] = inputs @ coefficients
    anchor = labels[:, list(WEIGHTS).index("distill_mos")]
    scaled = (score - np.nanmean(score)) / np.nanstd(score) * np.nanstd(anchor)
    return np.clip(scaled + np.nanmean(anchor), LOW, HIGH)


def read_all(manifests: Sequence[Path]) -> list[Recording]:
    """Read manifests as one; a uid that an earlier one has gets the name of its folder."""
    recordings: list[Recording] = []
    for manifest in manifests:
        known = {recording.uid for recording in recordings}
        for recording in read_manifest(manifest):
            # One recording as it is can be in two sets.
            if recording.uid in known:
                recording.uid += f"@{manifest.parent.name}"
            recordings.append(recording)
    return recordings


def main() -> None:
    """Add ``mos`` to labelled manifests and put them together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    recordings = read_all(arguments.manifests)
    labels = label_matrix(recordings)
    if np.isfinite(labels).all(axis=1).sum() < 2:
        parser.error(f"expected at least two recordings with all of {', '.join(WEIGHTS)} to count")
    scores = pseudo_mos(labels)
    for recording, score in zip(recordings, scores, strict=True):
        if np.isfinite(score):
            recording.metrics["mos"] = round(float(score), 4)
    write_manifest(arguments.output, recordings)
    print(f"{np.isfinite(scores).sum()} of {len(recordings)} recordings have a pseudo-MOS")


if __name__ == "__main__":
    main()
