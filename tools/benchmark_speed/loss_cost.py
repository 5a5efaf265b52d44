"""What a step of training through a loss costs, and what the step costs without it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clips import babble
from own_process import forget_peak, peak_mib, quickest, resident_mib, run_alone

_RECIPE = Path(__file__).parents[2] / "recipes" / "enhancement"

# Takes a batch of waveforms, goes forward and backward.
Step = Callable[[Any], None]


def measure_losses(
    *, model: str, batch: int, length_s: float, threads: int, repeats: int
) -> dict[str, Any]:
    """Measure each of ``LOSSES`` in a fresh process.

    Returns:
        For each the seconds, the CPU seconds and the MiB per second of audio, of the best of
        ``repeats``; or ``error``.
    """
    results = {}
    for name in LOSSES:
        print(f"{name}, forward and backward …", file=sys.stderr, flush=True)
        results[name] = run_alone(
            _measure,
            threads=threads,
            name=name,
            model=model,
            batch=batch,
            length_s=length_s,
            repeats=repeats,
        )
        if "error" in results[name]:
            print(f"{name} is not available: {results[name]['error']}", file=sys.stderr)
    return results


def _measure(
    *, name: str, model: str, batch: int, length_s: float, repeats: int
) -> dict[str, float]:
    import numpy as np
    import torch

    rng = np.random.default_rng(0)
    clips = np.stack([babble(length_s, 16000, rng) for _ in range(batch)])
    waveform = torch.from_numpy(clips.astype(np.float32))
    step = LOSSES[name](model)
    # What is allocated once and for all, the optimiser's state too, counts as no step's.
    step(waveform[:1, :16000])
    before = resident_mib()
    forget_peak()
    wall, cpu = quickest(lambda: step(waveform), repeats=repeats)
    seconds = batch * length_s
    return {
        "wall": wall / seconds,
        "cpu": cpu / seconds,
        "peak_mib": (peak_mib() - before) / seconds,
    }


def urgentmos_mos(model: str) -> Step:
    """Go back to the waveform through ``QualityLoss`` of ``mos``."""
    return _urgentmos({"mos": 1.0}, model)


def urgentmos_four(model: str) -> Step:
    """Go back to the waveform through ``QualityLoss`` of four metrics of three groups."""
    return _urgentmos({"mos": 1.0, "distill_mos": 1.0, "pesq": 1.0, "estoi": 1.0}, model)


def _urgentmos(weights: dict[str, float], model: str) -> Step:
    import urgentmos

    loss = urgentmos.QualityLoss(weights=weights, model=model)

    def step(waveform: Any) -> None:
        loss(waveform.clone().requires_grad_()).backward()

    return step


def distill_mos(model: str) -> Step:
    """Go back to the waveform through Distill-MOS, its weights frozen."""
    import distillmos

    network = distillmos.ConvTransformerSQAModel().eval().requires_grad_(False)

    def step(waveform: Any) -> None:
        (-network(waveform.clone().requires_grad_()).mean()).backward()

    return step


def nsnet2_step(model: str) -> Step:
    """Train the network of recipes/enhancement (NSNet2 at half its widths) on SI-SDR."""
    sys.path.append(str(_RECIPE))
    from enhancer import Enhancer, si_sdr

    network = Enhancer()
    return _training(network, lambda noisy, clean: -si_sdr(network(noisy), clean).mean())


def conv_tasnet_step(model: str) -> Step:
    """Train Conv-TasNet as torchaudio defines it, for one speaker, on SI-SDR."""
    import torchaudio

    sys.path.append(str(_RECIPE))
    from enhancer import si_sdr

    network = torchaudio.models.conv_tasnet_base(num_sources=1)
    return _training(
        network, lambda noisy, clean: -si_sdr(network(noisy[:, None])[:, 0], clean).mean()
    )


def _training(network: Any, loss: Callable[[Any, Any], Any]) -> Step:
    import torch

    optimizer = torch.optim.Adam(network.parameters())

    def step(waveform: Any) -> None:
        optimizer.zero_grad()
        loss(waveform + 0.02 * torch.randn_like(waveform), waveform).backward()
        optimizer.step()

    return step


LOSSES: dict[str, Callable[[str], Step]] = {
    "urgentmos, mos": urgentmos_mos,
    "urgentmos, 4 metrics": urgentmos_four,
    "Distill-MOS": distill_mos,
    "step of NSNet2 (half)": nsnet2_step,
    "step of Conv-TasNet": conv_tasnet_step,
}
"""Makers by title, given the model to load."""
