"""Which inaudible twin of a recording makes the mean of two scores most like the mean of many?

``python recipes/default/compare_twins.py MODEL MANIFEST``. Twelve versions of each recording are
scored, which nobody can tell apart: both polarities, each late by 0 to 15 ms. For each version the
table has the root mean square, over recordings, of what the mean of it and of the recording itself
is off from the mean of all twelve. No rating and no label has a part in it.
"""

import argparse
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE, read_audio
from urgentmos.data.manifest import read_manifest
from urgentmos.model.checkpoint import load_model
from urgentmos.model.network import build_assessor

DELAYS_MS = (0, 2.5, 5, 7.5, 10, 15)
METRICS = ("mos", "distill_mos")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name, folder or Hub id")
    parser.add_argument("manifest", type=Path, help="recordings")
    parser.add_argument("--recordings", type=int, default=150)
    arguments = parser.parse_args()

    assessor = load_model(arguments.model)
    # By one version at a time.
    network = build_assessor(replace(assessor.config, test_time_augmentation=False)).eval()
    network.load_state_dict(assessor.network.state_dict())
    rows = [r for r in read_manifest(arguments.manifest) if r.meta.get("split") == "validation"]
    random.Random(0).shuffle(rows)
    versions = [(sign, delay_ms) for sign in (1, -1) for delay_ms in DELAYS_MS]
    scores = np.zeros((min(arguments.recordings, len(rows)), len(versions), len(METRICS)))
    for number, row in enumerate(tqdm(rows[: len(scores)])):
        waveform = torch.from_numpy(read_audio(row.audio_path).waveform)[None]
        length = torch.tensor([waveform.shape[1]])
        for index, (sign, delay_ms) in enumerate(versions):
            samples = round(delay_ms * SAMPLE_RATE / 1000)
            version = functional.pad(sign * waveform, (samples, 0))[:, : waveform.shape[1]]
            with torch.inference_mode():
                given = network(version, length, metrics=METRICS).scores
            scores[number, index] = [float(given[metric]) for metric in METRICS]

    mean = scores.mean(axis=1)
    print("| polarity | late by, ms | " + " | ".join(METRICS) + " |\n|---|---|---|---|")
    for index, (sign, delay_ms) in enumerate(versions):
        off = (scores[:, 0] + scores[:, index]) / 2 - mean
        figures = " | ".join(f"{value:.3f}" for value in np.sqrt((off**2).mean(axis=0)))
        print(f"| {'+' if sign > 0 else '-'} | {delay_ms:g} | {figures} |")


if __name__ == "__main__":
    main()
