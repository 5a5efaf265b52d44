"""SDR of many recordings at once."""

import torch
from jaxtyping import Float64
from torch import Tensor

from urgentmos.labels.sdr import CLAMP_DB, FILTER_TAPS

from .waveforms import Batch, Labels, Wide, in_parts, labelled, usable_pairs

# As many as keep the largest intermediate tensors near 1 GB.
_RECORDINGS_AT_ONCE = 256


def sdr(recording: Batch, reference: Batch) -> Labels:
    """Compute the SDR (dB) of each recording, as `urgentmos.labels.sdr`."""
    usable, recording, reference = usable_pairs(recording, reference)
    coherence = torch.cat(
        [
            _coherence(ours.double(), theirs.double())
            for ours, theirs in in_parts(_RECORDINGS_AT_ONCE, recording, reference)
        ]
    )
    # The largest and smallest share of the recording's energy, at ±CLAMP_DB.
    edge = 1 / (1 + 10 ** (CLAMP_DB / 10))
    coherence = coherence.clamp(edge, 1 - edge)
    return labelled(10 * torch.log10(coherence / (1 - coherence)), usable)


def _coherence(recording: Wide, reference: Wide) -> Float64[Tensor, " batch"]:
    # Share of the recording's energy that a filtered reference explains.
    recording = recording / recording.norm(dim=1, keepdim=True).clamp(min=1e-6)
    reference = reference / reference.norm(dim=1, keepdim=True).clamp(min=1e-6)
    size = 1 << (recording.shape[1] + FILTER_TAPS - 1).bit_length()
    ours, theirs = torch.fft.rfft(recording, size), torch.fft.rfft(reference, size)
    autocorrelation = torch.fft.irfft(theirs.abs().square(), size)[:, :FILTER_TAPS]
    cross = torch.fft.irfft(theirs.conj() * ours, size)[:, :FILTER_TAPS]
    taps = torch.arange(FILTER_TAPS, device=recording.device)
    normal = autocorrelation[:, (taps[:, None] - taps).abs()]

    factor, failed = torch.linalg.cholesky_ex(normal)
    whitened: Tensor = torch.linalg.solve_triangular(factor, cross[..., None], upper=False)
    coherence = whitened[..., 0].square().sum(dim=1)
    # Rounding takes the smallest eigenvalues of a band-limited reference below zero.
    again = failed.nonzero()[:, 0]
    if len(again):
        solution, singular = torch.linalg.solve_ex(normal[again], cross[again])
        solved = (cross[again] * solution).sum(dim=1)
        coherence[again] = torch.where(singular == 0, solved, torch.nan)
    return coherence
