"""Optimise the samples of recordings through the loss, and see what true measures say of it.

    python tools/optimise_samples.py                        # the demo's recordings
    python tools/optimise_samples.py my/recordings --steps 200 --lr 3e-4

Samples can be changed in far more ways than a network's output can, so this is the easiest way to
game the loss. A row per recording: what the assessor says before and after, how far the change lies
below the recording in dB, and Distill-MOS and DNSMOS P.808 before and after, computed by the
labels' own tools (``pip install '.[labels]'``).
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import urgentmos
from urgentmos.audio import SAMPLE_RATE, read_audio
from urgentmos.audio_folders import find_audio
from urgentmos.labels.catalogue import LABELLERS
from urgentmos.ndarray import NDArray
from urgentmos.report.table import format_table

Waveform = NDArray[np.float32]

DEMO = Path(__file__).parents[1] / "recipes" / "demo" / "recordings"
TOOLS = ("distill_mos", "dnsmos_p808")
HEADINGS = ("recording", "mos", "after", "change, dB", "distill_mos", "after", "p808", "after")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", default=[DEMO], help="files and folders")
    parser.add_argument("--model", default="default", help="name, folder or Hub id")
    parser.add_argument("--steps", type=int, default=60, help="of Adam")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each recording, its first")
    options = parser.parse_args()
    assessor = urgentmos.load(options.model)
    loss = urgentmos.QualityLoss(weights={"mos": 1.0}, model=assessor)
    tools = [LABELLERS[name].build("float32") for name in TOOLS]
    rows = []
    for path in find_audio(options.paths):
        before = read_audio(path).waveform[: round(options.seconds * SAMPLE_RATE)]
        after = optimise(loss, before, steps=options.steps, lr=options.lr)
        mos = [
            float(assessor.score(w, SAMPLE_RATE, metrics=["mos"])["mos"]) for w in (before, after)
        ]
        change = 10 * np.log10(np.mean((after - before) ** 2) / np.mean(before**2))
        measured = [tool.label(w, None)[tool.metrics[0]] for tool in tools for w in (before, after)]
        values = [*(f"{value:.2f}" for value in mos), f"{change:.0f}"]
        rows.append([path.name, *values, *(f"{value:.2f}" for value in measured)])
    print(format_table(HEADINGS, rows))


def optimise(loss: urgentmos.QualityLoss, waveform: Waveform, *, steps: int, lr: float) -> Waveform:
    """Change a recording, sample by sample, so that the loss falls."""
    samples = torch.from_numpy(waveform)[None].clone().requires_grad_()
    optimizer = torch.optim.Adam([samples], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(samples, sample_rate=SAMPLE_RATE).backward()
        optimizer.step()
    return samples.detach()[0].numpy()


if __name__ == "__main__":
    main()
