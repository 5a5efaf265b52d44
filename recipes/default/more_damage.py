"""More damage to many recordings at once, on the device they are on.

``urgentmos simulate`` makes recordings one by one, with every codec and every kind of processing.
``stream.py`` hears each of them more than once; what is done to it here makes it another one, whose
labels are computed anew. All functions take and give recordings of one length, 16 kHz, in time with
what they were.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from urgentmos.audio import SAMPLE_RATE

Waveforms = Float[Tensor, "batch samples"]
_TINY = 1e-8
_LOUDEST = 0.99
_RESPONSE_DB = 9.0  # spread of a response, octave by octave
_STEEP_DB = 60.0  # per octave beyond the ends of a band


class MoreDamage:
    """Draw one or two kinds of damage for every recording, and apply them.

    Args:
        noises: Recorded noise, each row as long as the longest recording at least.
        second_share: Share of the recordings that are damaged twice.
    """

    def __init__(
        self, noises: Float[Tensor, "noises samples"], *, second_share: float = 0.4
    ) -> None:
        self._noises = noises
        self._second_share = second_share
        self._kinds: list[Callable[[Waveforms], Waveforms]] = [
            self._recorded_noise,
            self._recorded_noise,
            coloured_noise,
            filtered,
            filtered,
            room,
            clipped,
            gaps,
            quantised,
            modulated_noise,
            mask_errors,
            mask_errors,
            subtracted,
            subtracted,
            wrong_phase,
            coarse_spectrum,
        ]

    def __call__(self, waveform: Waveforms) -> Waveforms:
        """Damage recordings, each in its own way; the peak stays below one."""
        waveform = self._one_each(waveform)
        twice = torch.randperm(len(waveform))[: round(self._second_share * len(waveform))]
        rows = twice.to(waveform.device)
        waveform = waveform.index_copy(0, rows, self._one_each(waveform[rows]))
        peak = waveform.abs().amax(dim=1, keepdim=True)
        return waveform * (_LOUDEST / peak.clamp_min(_LOUDEST))

    def _one_each(self, waveform: Waveforms) -> Waveforms:
        # As many recordings for a kind in every batch: a transform of another size takes a plan of
        # its own, which takes longer to make than to use.
        order = torch.randperm(len(waveform)).to(waveform.device)
        kinds = [self._kinds[i] for i in torch.randperm(len(self._kinds)).tolist()]
        damaged = waveform.clone()
        for kind, rows in zip(kinds, order.tensor_split(len(kinds)), strict=True):
            if len(rows):
                damaged[rows] = kind(waveform[rows])
        return damaged

    def _recorded_noise(self, waveform: Waveforms) -> Waveforms:
        batch, samples = waveform.shape
        device = waveform.device
        noise = self._noises[torch.randint(len(self._noises), (batch,), device=device)]
        start = torch.randint(noise.shape[1], (batch, 1), device=device)
        places = (start + torch.arange(samples, device=device)) % noise.shape[1]
        return _mixed(waveform, noise.gather(1, places))


def uniform(like: Tensor, low: float, high: float) -> Float[Tensor, "batch 1"]:
    """Draw one number per recording."""
    return torch.empty(len(like), 1, device=like.device).uniform_(low, high)


def _rms(waveform: Waveforms) -> Float[Tensor, "batch 1"]:
    return waveform.square().mean(dim=1, keepdim=True).sqrt()


def _with_level_of(damaged: Waveforms, waveform: Waveforms) -> Waveforms:
    return damaged * (_rms(waveform) / (_rms(damaged) + _TINY))


def _mixed(waveform: Waveforms, noise: Waveforms) -> Waveforms:
    snr_db = uniform(waveform, -5, 38)
    return waveform + _with_level_of(noise, waveform) * 10 ** (-snr_db / 20)


def _tilt(waveform: Waveforms) -> Waveforms:
    """Give noise whose power falls or rises with frequency."""
    spectrum = torch.fft.rfft(torch.randn_like(waveform))
    places = torch.linspace(0, 1, spectrum.shape[1], device=waveform.device).clamp_min(1e-3)
    return torch.fft.irfft(spectrum * places ** -uniform(waveform, -0.5, 1.5), n=waveform.shape[1])


def coloured_noise(waveform: Waveforms) -> Waveforms:
    """Add stationary noise."""
    return _mixed(waveform, _tilt(waveform))


def modulated_noise(waveform: Waveforms) -> Waveforms:
    """Add noise that follows the waveform (MNRU, ITU-T P.810)."""
    depth = 10 ** (-uniform(waveform, 4, 36) / 20)
    return waveform * (1 + depth * torch.randn_like(waveform))


def filtered(waveform: Waveforms) -> Waveforms:
    """Change the response in octaves, and take away one end of the band in two of five."""
    spectrum = torch.fft.rfft(waveform)
    hertz = torch.linspace(1, SAMPLE_RATE / 2, spectrum.shape[1], device=waveform.device)
    octave = (hertz / 62.5).log2().clamp(0, 6.999)
    gains_db = _RESPONSE_DB * torch.randn(len(waveform), 8, device=waveform.device)
    low, share = octave.long(), octave - octave.long()
    response_db = gains_db[:, low] * (1 - share) + gains_db[:, low + 1] * share
    top = torch.where(uniform(waveform, 0, 1) < 0.4, uniform(waveform, 1200, 7500), torch.inf)
    bottom = torch.where(uniform(waveform, 0, 1) < 0.2, uniform(waveform, 80, 900), 1e-9)
    response_db = response_db - _STEEP_DB * (hertz / top).log2().clamp_min(0)
    response_db = response_db - _STEEP_DB * (bottom / hertz).log2().clamp_min(0)
    damaged = torch.fft.irfft(spectrum * 10 ** (response_db / 20), n=waveform.shape[1])
    return _with_level_of(damaged, waveform)


def room(waveform: Waveforms) -> Waveforms:
    """Add reverberation: noise that decays, after the direct sound."""
    samples = round(0.8 * SAMPLE_RATE)
    seconds = torch.arange(samples, device=waveform.device) / SAMPLE_RATE
    decay = torch.exp(-3 * math.log(10) * seconds / uniform(waveform, 0.15, 1.2))
    tail = torch.randn(len(waveform), samples, device=waveform.device) * decay
    tail[:, : SAMPLE_RATE // 400] = 0
    direct_db = uniform(waveform, -6, 18)
    tail = tail / (tail.square().sum(dim=1, keepdim=True).sqrt() + _TINY) * 10 ** (-direct_db / 20)
    tail[:, 0] = 1
    size = waveform.shape[1] + samples
    spectrum = torch.fft.rfft(waveform, n=size) * torch.fft.rfft(tail, n=size)
    return torch.fft.irfft(spectrum, n=size)[:, : waveform.shape[1]]


def clipped(waveform: Waveforms) -> Waveforms:
    """Clip, hard or softly, and bring it back to its level."""
    limit = _rms(waveform) * 10 ** (uniform(waveform, -10, 10) / 20) + _TINY
    hard = waveform.clamp(-limit, limit)
    damaged = torch.where(uniform(waveform, 0, 1) < 0.6, hard, limit * torch.tanh(waveform / limit))
    return _with_level_of(damaged, waveform)


def gaps(waveform: Waveforms) -> Waveforms:
    """Lose packets: silence, or the packet before once more."""
    batch, samples = waveform.shape
    packet = int(torch.randint(160, 961, ()))
    count = -(-samples // packet)
    lost = torch.rand(batch, count, device=waveform.device) < uniform(waveform, 0.01, 0.3)
    burst = torch.roll(lost, 1, dims=1) & (uniform(waveform, 0, 1) < 0.5)
    gone = (lost | burst).repeat_interleave(packet, dim=1)[:, :samples]
    before = torch.roll(waveform, packet, dims=1)
    filler = torch.where(uniform(waveform, 0, 1) < 0.4, 0.7 * before, torch.zeros_like(waveform))
    return torch.where(gone, filler, waveform)


def quantised(waveform: Waveforms) -> Waveforms:
    """Round to few levels, even or logarithmic."""
    peak = waveform.abs().amax(dim=1, keepdim=True) + _TINY
    levels = 2 ** uniform(waveform, 2, 9)
    even = waveform / peak
    mu = 255.0
    logarithmic = even.sign() * torch.log1p(mu * even.abs()) / math.log1p(mu)
    is_even = uniform(waveform, 0, 1) < 0.5
    code = torch.round(torch.where(is_even, even, logarithmic) * levels) / levels
    back = code.sign() * torch.expm1(code.abs() * math.log1p(mu)) / mu
    return peak * torch.where(is_even, code, back)


def _stft(waveform: Waveforms, size: int, hop: int) -> Tensor:
    window = torch.hann_window(size, device=waveform.device)
    return torch.stft(waveform, size, hop, window=window, return_complex=True)


def _istft(spectrum: Tensor, size: int, hop: int, samples: int) -> Waveforms:
    window = torch.hann_window(size, device=spectrum.device)
    return torch.istft(spectrum, size, hop, window=window, length=samples)


def _smooth_field(like: Tensor) -> Tensor:
    """Give a random field over (batch, bins, frames), of unit variance, smooth to some degree."""
    batch, bins, frames = like.shape
    coarse_bins, coarse_frames = int(torch.randint(6, bins, ())), int(torch.randint(6, frames, ()))
    coarse = torch.randn(batch, 1, coarse_bins, coarse_frames, device=like.device)
    field = torch.nn.functional.interpolate(coarse, (bins, frames), mode="bilinear")[:, 0]
    return field / field.std().clamp_min(_TINY)


def mask_errors(waveform: Waveforms) -> Waveforms:
    """Multiply the spectrum with what a bad mask would be."""
    size, hop = 512, 128
    spectrum = _stft(waveform, size, hop)
    depth_db = uniform(waveform, 2, 25)[..., None]
    gain_db = (depth_db * _smooth_field(spectrum)).clamp(-50, 6)
    return _istft(spectrum * 10 ** (gain_db / 20), size, hop, waveform.shape[1])


def subtracted(waveform: Waveforms) -> Waveforms:
    """Add noise and take it away again, too much or too little of it, with musical noise."""
    size, hop = 512, 128
    noise = _with_level_of(_tilt(waveform), waveform) * 10 ** (-uniform(waveform, -3, 25) / 20)
    spectrum = _stft(waveform + noise, size, hop)
    power = spectrum.abs().square()
    estimate = _stft(noise, size, hop).abs().square().mean(dim=2, keepdim=True)
    over = uniform(waveform, 0.5, 5)[..., None]
    floor = 10 ** (-uniform(waveform, 8, 40)[..., None] / 20)
    kept = (1 - over * estimate / (power + _TINY)).clamp_min(0).sqrt()
    return _istft(spectrum * torch.maximum(kept, floor), size, hop, waveform.shape[1])


def wrong_phase(waveform: Waveforms) -> Waveforms:
    """Disturb the phase, and make it consistent again in a few iterations (Griffin and Lim)."""
    size = (256, 512, 1024)[int(torch.randint(3, ()))]
    return _with_magnitude(waveform, size, spread=uniform(waveform, 0.2, 3.2)[..., None])


def coarse_spectrum(waveform: Waveforms) -> Waveforms:
    """Make the waveform of a spectrum that is smoothed over frequency, as from mel bands."""
    size = (512, 1024)[int(torch.randint(2, ()))]
    spread = uniform(waveform, 0.0, 3.2)[..., None]
    return _with_magnitude(
        waveform, size, spread=spread, width=2 * int(torch.randint(1, 6, ())) + 1
    )


def _with_magnitude(
    waveform: Waveforms, size: int, *, spread: Float[Tensor, "batch 1 1"], width: int = 1
) -> Waveforms:
    hop, samples = size // 4, waveform.shape[1]
    spectrum = _stft(waveform, size, hop)
    magnitude = spectrum.abs()
    if width > 1:
        rows = magnitude.transpose(1, 2)
        smooth = torch.nn.functional.avg_pool1d(
            rows, width, stride=1, padding=width // 2, count_include_pad=False
        )
        magnitude = smooth.transpose(1, 2)
    angle = spectrum.angle() + spread * _smooth_field(magnitude)
    for _ in range(int(torch.randint(1, 9, ()))):
        made = _istft(torch.polar(magnitude, angle), size, hop, samples)
        angle = _stft(made, size, hop).angle()
    return _istft(torch.polar(magnitude, angle), size, hop, samples)
