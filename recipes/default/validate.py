"""Hold a model against the labels of validation recordings: LCC and SRCC per metric, and the mean.

LCC also with each speaker counted alike, since a few speakers can have half of the recordings.

``python recipes/default/validate.py MODEL MANIFEST... [--leave-out mimic3 opentts]``. Recordings
are those whose ``meta.split`` is ``validation`` (or what ``--split`` says: what a model makes of
new recordings of speakers that it knows); with ``--leave-out``, without those whose
``meta.utterance`` has one of these names in it. They are scored as ``urgentmos score`` does it:
with an encoder's own score and the recording's twin, where the model has these. A metric that the
model does not predict, or of which fewer than two recordings have a label, has no row.
``--output`` writes LCC and SRCC as JSON too, for the card (``publish.py --validation``).
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE
from urgentmos.correlation import lcc, srcc
from urgentmos.data.dataset import label_matrix
from urgentmos.data.label_table import merge_labels
from urgentmos.data.manifest import Recording, read_manifest
from urgentmos.data.sampler import plan_whole_recordings
from urgentmos.data.waveforms import DecodedWaveforms, read_whole
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model
from urgentmos.precision import Precision

_FEWEST = 2  # labels; a correlation of one is none


def recordings_of_side(
    manifests: list[Path], leave_out: list[str], *, split: str
) -> list[Recording]:
    """Choose the recordings of one side of the split that are of none of the names."""
    return [
        recording
        for manifest in manifests
        for recording in read_manifest(manifest)
        if recording.meta.get("split") == split
        and not any(name in str(recording.meta.get("utterance")) for name in leave_out)
    ]


def score(assessor: Assessor, recordings: list[Recording], *, batch_samples: int) -> np.ndarray:
    """Score recordings in batches of like length: a row each, a column per metric."""
    waveforms = DecodedWaveforms(recordings)
    scores = np.zeros((len(recordings), len(assessor.metrics)))
    for batch in tqdm(plan_whole_recordings(waveforms.lengths, batch_samples=batch_samples)):
        padded, lengths = read_whole(waveforms, batch)
        given = assessor.score(padded, SAMPLE_RATE, lengths=lengths)
        columns = [given[metric].float() for metric in assessor.metrics]
        scores[batch] = torch.stack(columns, dim=1).cpu().numpy()
    return scores


def speakers_alike(recordings: list[Recording]) -> np.ndarray:
    """Weigh recordings so that those of each speaker come to 1; without a speaker, each alone."""
    speakers = [recording.meta.get("speaker") or recording.uid for recording in recordings]
    counts = Counter(speakers)
    return np.array([1 / counts[speaker] for speaker in speakers])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name, folder or Hub id")
    parser.add_argument("manifests", type=Path, nargs="+", help="recordings, with labels")
    parser.add_argument("--labels", type=Path, help="table of labels by uid, laid over theirs")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--split", default="validation", help="the side (default: validation)")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-seconds", type=float, default=60.0)
    parser.add_argument("--output", type=Path, help="file for the figures")
    arguments = parser.parse_args()

    recordings = recordings_of_side(arguments.manifests, arguments.leave_out, split=arguments.split)
    if not recordings:
        manifests = ", ".join(map(str, arguments.manifests))
        raise SystemExit(f"no {arguments.split} recordings in {manifests}")
    if arguments.labels:
        merge_labels(recordings, arguments.labels)
    assessor = load_model(arguments.model, precision=arguments.precision).to(arguments.device)
    scores = score(assessor, recordings, batch_samples=round(arguments.batch_seconds * SAMPLE_RATE))
    labels = label_matrix(recordings, assessor.metrics).astype(np.float64)

    print(f"{len(recordings)} recordings, model {assessor.model_hash}, {assessor.precision}\n")
    print("| metric | labels | LCC | SRCC | LCC, speakers alike |\n|---|---|---|---|---|")
    figures = {}
    for column, metric in enumerate(assessor.metrics):
        labelled = ~np.isnan(labels[:, column])
        if labelled.sum() < _FEWEST:
            continue
        pair = labels[labelled, column], scores[labelled, column]
        weights = speakers_alike([recordings[row] for row in np.flatnonzero(labelled)])
        figures[metric] = lcc(*pair), srcc(*pair), lcc(*pair, weights)
        cells = " | ".join(f"{figure:.3f}" for figure in figures[metric])
        print(f"| {metric} | {labelled.sum()} | {cells} |")
    if not figures:
        raise SystemExit("no metric of the model has two labels")
    mean = np.mean(list(figures.values()), axis=0)
    print("| mean | | {:.3f} | {:.3f} | {:.3f} |".format(*mean))
    if arguments.output:
        rows = {**figures, "mean": mean}
        named = {
            f"{kind}/{metric}": round(float(row[place]), 3)
            for metric, row in rows.items()
            for place, kind in enumerate(("lcc", "srcc"))
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(named, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
