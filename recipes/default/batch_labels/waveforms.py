"""Batches of recordings and references, and labels of only those that can have one."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from urgentmos.labels import scaling as scaling_tool

Batch = Float32[Tensor, "batch samples"]
Wide = Float64[Tensor, "batch samples"]
Labels = Float32[Tensor, " batch"]


def usable_pairs(recording: Batch, reference: Batch) -> tuple[Tensor, Batch, Batch]:
    """Tell where both have sound, and put noise elsewhere: what follows can be computed for all."""
    usable = has_sound(recording) & has_sound(reference)
    noise = stand_in(recording)
    recording, reference = (
        torch.where(usable[:, None], each, noise) for each in (recording, reference)
    )
    return usable, recording, reference


def in_parts(size: int, *batches: Batch) -> Iterator[tuple[Batch, ...]]:
    """Cut batches into parts of as many recordings as fit into memory at once."""
    return zip(*(torch.split(batch, size) for batch in batches), strict=True)


def has_sound(waveform: Batch) -> Bool[Tensor, " batch"]:
    """Tell which are neither silent nor hold NaN or infinity."""
    # Of finite values the largest is finite, and above zero.
    peak = waveform.abs().amax(dim=1)
    return (peak > 0) & peak.isfinite()


def stand_in(waveform: Batch) -> Float32[Tensor, " samples"]:
    """Give sound that is as long, to put where a recording has none."""
    # A chirp whose steps are no multiples of the rate is as good as noise.
    time = torch.arange(waveform.shape[1], device=waveform.device, dtype=torch.float64)
    return (0.1 * torch.sin(0.7548776662 * time.square())).float()


def scaled(recording: Batch, reference: Batch) -> Wide:
    """Scale recordings to their references, as `urgentmos.labels.scaling`."""
    wide, other = recording.double(), reference.double()
    energy = wide.square().sum(dim=1, keepdim=True)
    return (wide * other).sum(dim=1, keepdim=True) / (energy + scaling_tool._EPSILON) * wide


def labelled(values: Float[Tensor, " batch"], usable: Bool[Tensor, " batch"]) -> Labels:
    """Give the values of those that can have one, and NaN for the others."""
    return torch.where(usable, values, torch.nan).float()
