"""ESTOI of many recordings at once, as package pystoi 0.4.1 computes it."""

from functools import cache
from math import ceil

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from .waveforms import Batch, Labels, in_parts, labelled, usable_pairs

# As many as keep the largest intermediate tensors near 1 GB.
_RECORDINGS_AT_ONCE = 128

_RATE = 10_000
_FRAME = 256
_HOP = 128
_FFT = 512
_BANDS = 15
_LOWEST_HZ = 150
_SEGMENT = 30
_RANGE_DB = 40.0
_EPSILON = float(np.finfo(float).eps)
_UP, _DOWN = 5, 8
# So many samples at a time become five eighths of them, by one matrix product.
_BLOCK = 160


def estoi(recording: Batch, reference: Batch) -> Labels:
    """Compute ESTOI of each recording, as `urgentmos.labels.estoi`."""
    usable, recording, reference = usable_pairs(recording, reference)
    # One frame at least, as one is left where all are silent.
    if ceil(recording.shape[1] * _UP / _DOWN) <= _FRAME:
        return torch.full_like(recording[:, 0], torch.nan)
    parts = in_parts(_RECORDINGS_AT_ONCE, recording, reference)
    return labelled(torch.cat([_estoi(ours, theirs) for ours, theirs in parts]), usable)


def _estoi(recording: Batch, reference: Batch) -> Float64[Tensor, " batch"]:
    bands, num_frames = _bands_of_speech(recording, reference)
    # (2, batch, segments, bands, frames of a segment); those with a frame that is not there are
    # left out at the end.
    missing = max(0, _SEGMENT - bands.shape[-1])
    padded = nn.functional.pad(bands, (0, missing))
    segments = padded.unfold(-1, _SEGMENT, 1).transpose(2, 3)
    numbers = torch.arange(segments.shape[2], device=bands.device)
    counts = (num_frames - _SEGMENT + 1)[:, None]
    # pystoi's noise, for what does not vary and so has no direction: it draws it for the bands of
    # the reference's segments, their frames, and then for those of the recording.
    draws = _noise(1 << (4 * len(numbers)).bit_length(), bands.device)
    band_noise, frame_noise = (
        torch.stack([(before * counts + numbers).clamp(min=0) for before in (first, first + 2)])
        for first in (0, 1)
    )
    segments = _unit(segments + draws[band_noise], dim=-1)
    segments = _unit(segments + draws[frame_noise], dim=-2)
    correlation = (segments[0] * segments[1]).sum(dim=(-1, -2)) / _SEGMENT
    total = torch.where(numbers < counts, correlation, 0.0).sum(dim=1)
    return torch.where(counts[:, 0] > 0, total / counts[:, 0], torch.nan)


def _unit(segments: Tensor, *, dim: int) -> Tensor:
    centred = segments - segments.mean(dim=dim, keepdim=True)
    norm: Tensor = torch.linalg.vector_norm(centred, dim=dim, keepdim=True)
    return centred / norm


@cache
def _noise(num_segments: int, device: torch.device) -> Float64[Tensor, "segments bands frames"]:
    # The first numbers of the stream that the tool seeds, which pystoi draws from.
    stream = np.random.RandomState(0)
    noise = stream.standard_normal((num_segments, _BANDS, _SEGMENT))
    return torch.from_numpy(_EPSILON * noise).to(device)


def _bands_of_speech(
    recording: Batch, reference: Batch
) -> tuple[Float64[Tensor, "2 batch bands frames"], Tensor]:
    # Third-octave magnitudes of both without the frames in which the reference is silent, and how
    # many frames are left of each recording: those behind them are not to be used.
    device = recording.device
    both = _resample(torch.stack([reference, recording]).double())
    window = torch.from_numpy(np.hanning(_FRAME + 2)[1:-1]).to(device)
    # pystoi leaves out a last frame that ends where the waveform ends.
    frames = both[..., :-1].unfold(-1, _FRAME, _HOP) * window
    energy = 20 * torch.log10(frames[0].norm(dim=-1) + _EPSILON)
    speech = energy.amax(dim=1, keepdim=True) - _RANGE_DB - energy < 0
    # Those with speech to the front, in order; then their overlapping halves are added.
    order = torch.argsort((~speech).byte(), dim=1, stable=True)
    kept = torch.gather(frames, 2, order[None, :, :, None].expand_as(frames))
    kept = kept * speech.gather(1, order)[None, :, :, None]
    halves = nn.functional.pad(kept[..., :_HOP], (0, 0, 0, 1))
    halves[:, :, 1:] += kept[..., _HOP:]
    joined = torch.cat([halves[:, :, :-1], halves[:, :, 1:]], dim=-1) * window
    spectrum = torch.view_as_real(torch.fft.rfft(joined, _FFT))
    power = spectrum.square().sum(dim=-1)
    bands = (power @ _third_octaves(device)).sqrt().transpose(2, 3)
    # Here too the last one is left out.
    return bands, speech.sum(dim=1) - 1


def _resample(
    waveform: Float64[Tensor, "pair batch samples"],
) -> Float64[Tensor, "pair batch resampled"]:
    samples = waveform.shape[-1]
    matrix, before, after = _resampler(waveform.device)
    num_blocks = ceil(samples / _BLOCK)
    padded = nn.functional.pad(waveform, (before, num_blocks * _BLOCK - samples + after))
    blocks = padded.unfold(-1, before + _BLOCK + after, _BLOCK) @ matrix
    return blocks.flatten(2)[..., : ceil(samples * _UP / _DOWN)]


@cache
def _resampler(device: torch.device) -> tuple[Tensor, int, int]:
    # Octave's filter: 60 dB of rejection, Kaiser window.
    cutoff = 1 / (2 * _DOWN)
    half = ceil((60 - 8) / (28.714 * cutoff / 10))
    time = np.arange(-half, half + 1)
    taps = np.kaiser(2 * half + 1, 0.1102 * (60 - 8.7)) * np.sinc(2 * cutoff * time)
    taps *= _UP / taps.sum()
    margin = half // _UP + 1
    inputs = np.arange(-margin, _BLOCK + margin)[:, None]
    outputs = np.arange(_BLOCK * _UP // _DOWN)
    tap = _DOWN * outputs - _UP * inputs + half
    inside = (tap >= 0) & (tap < len(taps))
    matrix = np.where(inside, taps[np.clip(tap, 0, len(taps) - 1)], 0.0)
    return torch.from_numpy(matrix).to(device), margin, margin


@cache
def _third_octaves(device: torch.device) -> Float64[Tensor, "bins bands"]:
    frequencies = np.linspace(0, _RATE, _FFT + 1)[: _FFT // 2 + 1]
    # From the bin nearest to a band's lower edge to the one below the nearest to its upper edge.
    edges = _LOWEST_HZ * 2.0 ** ((2 * np.arange(_BANDS + 1) - 1) / 6)
    nearest = np.abs(frequencies[:, None] - edges).argmin(axis=0)
    bins = np.arange(len(frequencies))[:, None]
    bands = (bins >= nearest[:-1]) & (bins < nearest[1:])
    return torch.from_numpy(bands.astype(np.float64)).to(device)
