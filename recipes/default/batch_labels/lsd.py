"""Log-spectral distance of many recordings at once."""

import torch
from jaxtyping import Float64
from torch import Tensor

from urgentmos.labels import lsd as lsd_tool

from .waveforms import Batch, Labels, Wide, labelled, scaled, usable_pairs


def lsd(recording: Batch, reference: Batch) -> Labels:
    """Compute the log-spectral distance of each recording, as `urgentmos.labels.lsd`."""
    usable, recording, reference = usable_pairs(recording, reference)
    epsilon = lsd_tool._EPSILON
    other_power = (_magnitude(scaled(recording, reference)) + epsilon).square()
    log_ratio = torch.log(_magnitude(reference.double()).square() / other_power + epsilon)
    return labelled(log_ratio.square().mean(dim=1).sqrt().mean(dim=1), usable)


def _magnitude(waveform: Wide) -> Float64[Tensor, "batch bins frames"]:
    size = lsd_tool.WINDOW_SAMPLES
    window = torch.hann_window(size, dtype=torch.float64, device=waveform.device)
    spectrum = torch.stft(
        waveform,
        size,
        lsd_tool.HOP_SAMPLES,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return torch.abs(spectrum)
