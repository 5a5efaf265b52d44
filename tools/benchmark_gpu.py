"""What scoring, and the model as a loss, take on a GPU.

    python tools/benchmark_gpu.py [--device cuda] [--clips 400] [--model default]

Clips of 5 s at 16 kHz are made up and scored: an array of 80 of them and one alone, in 32 bits and
in bfloat16, and all of them as files, decoded by 2 or more workers. The loss goes forward and
backward over 8 recordings of 4 s, beside a step of a small enhancement network. The quickest of a
few repeats counts.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

_TOOLS = Path(__file__).parent
sys.path += [str(_TOOLS / "benchmark_speed"), str(_TOOLS.parent / "recipes" / "enhancement")]

import own_process  # noqa: E402
from clips import babble  # noqa: E402
from enhancer import Enhancer, si_sdr  # noqa: E402

import urgentmos  # noqa: E402

CLIP_S = 5.0
DIFFERENT = 20
BATCH = 80
LOSS_BATCH, LOSS_S = 8, 4.0
WORKERS = (2, 8)
FOUR_METRICS = ("mos", "distill_mos", "pesq", "estoi")


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else options.device
    print(f"{name}, torch {torch.__version__}")
    clips = make_clips(max(options.clips, BATCH))
    for precision in ("float32", "bfloat16"):
        model = urgentmos.load(options.model, device=device, precision=precision)
        score_arrays(model, clips[:BATCH], device, precision)
    score_files(urgentmos.load(options.model, device=device), clips[: options.clips])
    for metrics in (FOUR_METRICS[:1], FOUR_METRICS):
        measure_loss(options.model, metrics, clips[:LOSS_BATCH], device)
    measure_enhancer(clips[:LOSS_BATCH], device)


def make_clips(count: int) -> np.ndarray:
    """Make clips up: a few, shifted and with noise of their own."""
    rng = np.random.default_rng(0)
    different = [np.float32(babble(CLIP_S, 16000, rng)) for _ in range(DIFFERENT)]
    shifted = [np.roll(different[i % DIFFERENT], 997 * i) for i in range(count)]
    return np.stack([clip + np.float32(1e-3 * rng.standard_normal(clip.shape)) for clip in shifted])


def quickest(
    call: Callable[[], object], device: torch.device, *, repeats: int
) -> tuple[float, str]:
    """Give the seconds of the quickest call after a first one, and the peak of the GPU's memory."""
    if device.type != "cuda":
        call()
        return own_process.quickest(call, repeats=repeats)[0], ""

    def finished() -> None:
        call()
        torch.cuda.synchronize(device)

    finished()
    torch.cuda.reset_peak_memory_stats(device)
    seconds, _ = own_process.quickest(finished, repeats=repeats)
    return seconds, f", {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB"


def score_arrays(
    model: urgentmos.Assessor, clips: np.ndarray, device: torch.device, precision: str
) -> None:
    """Score arrays."""
    seconds, peak = quickest(lambda: model.score(clips, 16000), device, repeats=5)
    real_time = CLIP_S * len(clips) / seconds
    print(f"{precision}, {len(clips)} clips: {1000 * seconds:.1f} ms, {real_time:.0f} x{peak}")
    seconds, _ = quickest(lambda: model.score(clips[0], 16000), device, repeats=10)
    print(f"{precision}, one clip: {1000 * seconds:.1f} ms")


def score_files(model: urgentmos.Assessor, clips: np.ndarray) -> None:
    """Score a folder."""
    with tempfile.TemporaryDirectory() as folder:
        for number, clip in enumerate(clips):
            soundfile.write(Path(folder, f"{number:05d}.flac"), clip, 16000, subtype="PCM_16")
        for workers in WORKERS:
            began = time.perf_counter()
            rows = list(model.score_files([folder], workers=workers))
            seconds = time.perf_counter() - began
            real_time = CLIP_S * len(rows) / seconds
            print(f"{len(rows)} files, {workers} workers: {seconds:.2f} s, {real_time:.0f} x")


def measure_loss(
    name: str, metrics: tuple[str, ...], clips: np.ndarray, device: torch.device
) -> None:
    """Go forward and backward through the loss."""
    model = urgentmos.load(name, device=device)
    loss = urgentmos.QualityLoss(weights=dict.fromkeys(metrics, 1.0), model=model)
    waveform = torch.from_numpy(clips[:, : round(16000 * LOSS_S)].copy()).to(device)
    seconds, peak = quickest(
        lambda: loss(waveform.clone().requires_grad_()).backward(), device, repeats=5
    )
    per_second = 1000 * seconds / (LOSS_S * len(clips))
    print(f"loss of {', '.join(metrics)}: {per_second:.2f} ms per second of audio{peak}")


def measure_enhancer(clips: np.ndarray, device: torch.device) -> None:
    """Make steps of a small enhancement network, without the loss."""
    clean = torch.from_numpy(clips[:, : round(16000 * LOSS_S)].copy()).to(device)
    noisy = clean + 0.02 * torch.randn_like(clean)
    network = Enhancer().to(device)
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        (-si_sdr(network(noisy), clean).mean()).backward()
        optimizer.step()

    seconds, _ = quickest(step, device, repeats=5)
    per_second = 1000 * seconds / (LOSS_S * len(clips))
    print(f"step of NSNet2 at half width: {per_second:.2f} ms per second of audio")


if __name__ == "__main__":
    main()
