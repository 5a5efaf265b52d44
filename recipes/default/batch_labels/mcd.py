"""Mel-cepstral distortion of many recordings at once."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from urgentmos.labels import mcd as mcd_tool
from urgentmos.labels import mel_cepstrum as cepstrum_tool

from .warping import mean_distance
from .waveforms import Batch, Labels, labelled, scaled, usable_pairs

# As many as keep the largest intermediate tensors near 1 GB.
_FRAMES_AT_ONCE = 65_000


def mcd(recording: Batch, reference: Batch) -> Labels:
    """Compute the mel-cepstral distortion (dB) of each recording, as `urgentmos.labels.mcd`."""
    if not mcd_tool.FRAME_SAMPLES <= recording.shape[1] <= mcd_tool.MAX_SAMPLES:
        return torch.full_like(recording[:, 0], torch.nan)
    usable, recording, reference = usable_pairs(recording, reference)
    waveforms = torch.cat([scaled(recording, reference), reference.double()])
    frames = waveforms.unfold(1, mcd_tool.FRAME_SAMPLES, mcd_tool.HOP_SAMPLES)
    parts = torch.split(frames, max(1, _FRAMES_AT_ONCE // frames.shape[1]))
    cepstra = torch.cat([_mel_cepstra(part.flatten(0, 1)) for part in parts])
    ours, theirs = cepstra.reshape(2, *recording.shape[:1], frames.shape[1], -1).unbind()
    distance = mean_distance(ours, theirs)
    return labelled(mcd_tool._TO_DB * np.sqrt(2.0) * distance, usable)


def _mel_cepstra(frames: Float64[Tensor, "frames samples"]) -> Float64[Tensor, "frames terms"]:
    # As urgentmos.labels.mel_cepstrum, step by step.
    device, terms = frames.device, mcd_tool.ORDER + 1
    window, models, correlate, start, target = _mel_bases(device)
    spectrum = torch.view_as_real(torch.fft.rfft(frames * window))
    periodogram = spectrum.square().sum(dim=-1) + mcd_tool._PERIODOGRAM_FLOOR
    cepstra = periodogram.log() @ start
    lags = torch.arange(terms, device=device)
    toeplitz, hankel = (lags[:, None] - lags).abs(), lags[:, None] + lags

    active, now = torch.arange(len(frames), device=device), cepstra.clone()
    before = torch.full_like(cepstra[:, 0], torch.inf)
    for iteration in range(1, cepstrum_tool._MAX_ITERATIONS + 1):
        correlation = (periodogram * torch.exp(-2 * (now @ models))) @ correlate
        if iteration > cepstrum_tool._UNCHECKED_ITERATIONS:
            change = (correlation[:, 0] - before).abs()
            moving = (change >= cepstrum_tool._CONVERGED * correlation[:, 0]).nonzero()[:, 0]
            active, now, periodogram, correlation = (
                each[moving] for each in (active, now, periodogram, correlation)
            )
        if len(active) == 0:
            break
        before = correlation[:, 0]
        normal = correlation[:, toeplitz] + correlation[:, hankel]
        step, singular = torch.linalg.solve_ex(normal, correlation[:, :terms] - target)
        now += torch.where(singular[:, None] == 0, step, torch.nan)
        cepstra[active] = now
    return cepstra


@cache
def _mel_bases(device: torch.device) -> tuple[Tensor, ...]:
    # Window, cosines (terms, bins), residual to its correlation, log periodogram to the start, and
    # mean of log |H| by term.
    terms = mcd_tool.ORDER + 1
    bases = cepstrum_tool._bases(mcd_tool.FRAME_SAMPLES, 2 * mcd_tool.ORDER, mcd_tool.ALPHA)
    cosines, weights, warped_weights = bases
    models = cosines[:, :terms]
    start = warped_weights[:, None] * models
    start[:, 0] /= 2
    arrays = (
        mcd_tool._WINDOW,
        np.ascontiguousarray(models.T),
        weights[:, None] * cosines,
        start,
        (-mcd_tool.ALPHA) ** np.arange(terms),
    )
    return tuple(torch.from_numpy(each).to(device) for each in arrays)
