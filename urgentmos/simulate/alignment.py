"""Finding and undoing the delay that a tool adds, so that a recording stays aligned."""

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from urgentmos.simulate.distortion import SAMPLE_RATE, Waveform

MAX_LEAD_SAMPLES = SAMPLE_RATE // 50
MAX_LAG_SAMPLES = SAMPLE_RATE // 5
ENVELOPE_STEP = 16
ENVELOPE_CUTOFF_HZ = 20.0
ENVELOPE_BANDS_HZ = ((200, 500), (500, 1000), (1000, 1700), (1700, 2600), (2600, 3400))
TRUSTED_CORRELATION = 0.38
"""On the probe, codecs that keep the waveform reach 0.50 and more, vocoders 0.29 and less."""

ROUNDED_UP = 0.3
"""Opus leads by 0.2 of a sample, AMR-NB and Speex by 0.5."""

PROBE_BURSTS = 12
GOLDEN = (np.sqrt(5) - 1) / 2


def lag_samples(delayed: Waveform, reference: Waveform) -> int:
    """Return by how many samples a waveform is late, negative where it is early.

    The waveforms themselves are correlated; when they hardly agree (parametric codecs keep no
    phase), the envelopes of their bands are. Either way the lag is rounded down, between samples
    or by up to 1 ms: what is left late a filter predicts from its reference, what is left early
    none can, and half a sample has cost Speex 4 dB of signal-to-distortion ratio.

    Args:
        delayed: Any length; late by up to 0.2 s, or early by up to 20 ms.
        reference: What it was made from.
    """
    # A power of two, for the Fourier transforms.
    length = 1 << max(len(delayed), len(reference)).bit_length()
    late, sent = (np.pad(one, (0, length - len(one))) for one in (delayed, reference))
    correlation = _correlation(late, sent)
    if correlation.max() < TRUSTED_CORRELATION:
        pairs = zip(_envelopes(late), _envelopes(sent), strict=True)
        correlation = np.mean([_correlation(a, b) for a, b in pairs], axis=0)
        lag = int(np.argmax(correlation)) - MAX_LEAD_SAMPLES
        return lag // ENVELOPE_STEP * ENVELOPE_STEP
    return int(np.floor(_peak(correlation) + ROUNDED_UP)) - MAX_LEAD_SAMPLES


def shifted(waveform: Waveform, *, delay: int, num_samples: int) -> Waveform:
    """Advance a waveform by ``delay`` samples and cut or zero-pad it to a length."""
    moved = waveform[delay:] if delay >= 0 else np.pad(waveform, (-delay, 0))
    moved = moved[:num_samples]
    return np.pad(moved, (0, num_samples - len(moved)))


@cache
def probe() -> Waveform:
    """Return the fixed signal delays are measured on: 3 s of voiced bursts with pauses.

    Speech codecs code pulses through resonances best; pitch, vowel, length and pause change from
    burst to burst, so that neither a period nor a codec's frame is mistaken for a delay.
    """
    parts = [np.zeros(SAMPLE_RATE // 10)]
    for number in range(1, PROBE_BURSTS + 1):
        # Multiples of the golden ratio fill the unit interval evenly.
        draws = [(number * GOLDEN * (turn + 1) + 0.37 * turn) % 1 for turn in range(6)]
        parts += [_burst(*draws[:5]), np.zeros(int(800 + 1600 * draws[5]))]
    signal = np.concatenate(parts)
    return np.asarray(0.5 * signal / np.abs(signal).max(), dtype=np.float32)


def _burst(
    length: float, pitch: float, glide: float, first: float, second: float
) -> Float[NDArray[Any], " samples"]:
    num_samples = int(2000 + 1600 * length)
    pitch_hz = (90 + 130 * pitch) * np.linspace(1, 0.8 + 0.4 * glide, num_samples)
    periods = np.floor(np.cumsum(pitch_hz) / SAMPLE_RATE)
    pulses = np.diff(periods, prepend=-1.0)
    seconds = np.arange(SAMPLE_RATE // 25) / SAMPLE_RATE
    formants = ((300 + 500 * first, 1.0, 80), (900 + 1300 * second, 0.6, 100), (2700, 0.3, 150))
    tract = sum(
        gain * np.exp(-np.pi * width_hz * seconds) * np.sin(2 * np.pi * hz * seconds)
        for hz, gain, width_hz in formants
    )
    voiced = np.convolve(pulses, np.asarray(tract))[:num_samples]
    return np.asarray(voiced / np.abs(voiced).max() * np.hanning(num_samples))


def _correlation(
    late: Float[NDArray[Any], " samples"], sent: Float[NDArray[Any], " samples"]
) -> Float[NDArray[np.float64], " lags"]:
    """Correlate at every lag from ``-MAX_LEAD_SAMPLES`` to ``MAX_LAG_SAMPLES``."""
    # Lags wrap around, but none of those asked for meets another's end.
    num_fft = 1 << (len(late) + MAX_LEAD_SAMPLES + MAX_LAG_SAMPLES).bit_length()
    product = np.fft.rfft(late, num_fft) * np.conj(np.fft.rfft(sent, num_fft))
    correlation = np.fft.irfft(product, num_fft)
    window = np.concatenate([correlation[-MAX_LEAD_SAMPLES:], correlation[: MAX_LAG_SAMPLES + 1]])
    energy = float(np.linalg.norm(late) * np.linalg.norm(sent))
    return np.asarray(window / max(energy, 1e-12), dtype=np.float64)


def _peak(correlation: Float[NDArray[np.float64], " lags"]) -> float:
    """Return the place of the maximum between samples, from the parabola through its top."""
    best = int(np.argmax(correlation))
    if not 0 < best < len(correlation) - 1:
        return float(best)
    before, top, after = correlation[best - 1 : best + 2]
    curvature = before - 2 * top + after
    return best + (0.5 * float((before - after) / curvature) if curvature < 0 else 0.0)


def _envelopes(waveform: Waveform) -> list[Float[NDArray[np.float64], " samples"]]:
    """Return how loud each band is, too smooth to show single pitch periods.

    With those, the best lag jumps by whole periods; without, real speech through one vocoder
    agrees within 2 ms.
    """
    spectrum = np.fft.fft(waveform)
    hz = np.fft.fftfreq(len(waveform), 1 / SAMPLE_RATE)
    smoothing = np.exp(-0.5 * (hz / ENVELOPE_CUTOFF_HZ) ** 2)
    smoothing[0] = 0.0
    return [
        np.fft.ifft(smoothing * np.fft.fft(np.abs(np.fft.ifft(band)))).real
        for band in (spectrum * ((hz >= low) & (hz < high)) for low, high in ENVELOPE_BANDS_HZ)
    ]
