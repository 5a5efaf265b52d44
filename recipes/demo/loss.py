"""Use the assessor as a loss: its value and its gradient for one good and one bad recording.

Run it with ``python recipes/demo/loss.py``.
"""

import argparse
from pathlib import Path

import soundfile
import torch

import urgentmos

RECORDINGS = Path(__file__).parent / "recordings"


def main() -> None:
    """Print the loss of two recordings, and what a small step against the gradient does to it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="default")
    loss = urgentmos.QualityLoss({"mos": 1.0}, model=parser.parse_args().model)
    for name in ("clean", "noise_severe"):
        samples, sample_rate = soundfile.read(RECORDINGS / f"{name}.flac", dtype="float32")
        waveform = torch.from_numpy(samples)[None].requires_grad_()
        before = loss(waveform, sample_rate=sample_rate)
        before.backward()
        with torch.no_grad():
            step = 1e-3 * waveform.grad / waveform.grad.abs().max()
            after = loss(waveform - step, sample_rate=sample_rate)
        print(f"{name}: loss {before:.4f}, after one step of size 0.001 {after:.4f}")


if __name__ == "__main__":
    main()
