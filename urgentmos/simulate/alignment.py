"""Undoing the delay that a tool adds, so that a recording stays aligned with its input."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from urgentmos.simulate.distortion import SAMPLE_RATE, Waveform

MAX_LEAD_SAMPLES = SAMPLE_RATE // 50
MAX_LAG_SAMPLES = SAMPLE_RATE // 5
ENVELOPE_HOP = 16
TRUSTED_CORRELATION = 0.5


def aligned(delayed: Waveform, reference: Waveform) -> Waveform:
    """Shift a waveform to where it correlates best with its reference, and cut it to length.

    The waveforms themselves are correlated; when they hardly agree (parametric codecs keep no
    phase), their envelopes are.

    Args:
        delayed: Any length; late by up to 0.2 s, or early by up to 20 ms.
        reference: What it was made from.
    """
    delay, correlation = _best_lag(delayed, reference, lead=MAX_LEAD_SAMPLES, lag=MAX_LAG_SAMPLES)
    if correlation < TRUSTED_CORRELATION:
        coarse, _ = _best_lag(
            _envelope(delayed),
            _envelope(reference),
            lead=MAX_LEAD_SAMPLES // ENVELOPE_HOP,
            lag=MAX_LAG_SAMPLES // ENVELOPE_HOP,
        )
        delay = coarse * ENVELOPE_HOP
    return shifted(delayed, delay=delay, num_samples=len(reference))


def shifted(waveform: Waveform, *, delay: int, num_samples: int) -> Waveform:
    """Advance a waveform by ``delay`` samples and cut or zero-pad it to a length."""
    moved = waveform[delay:] if delay >= 0 else np.pad(waveform, (-delay, 0))
    moved = moved[:num_samples]
    return np.pad(moved, (0, num_samples - len(moved)))


def _best_lag(
    delayed: Float[NDArray[Any], " a"], reference: Float[NDArray[Any], " b"], *, lead: int, lag: int
) -> tuple[int, float]:
    num_fft = 1 << (len(delayed) + len(reference) + lead + lag).bit_length()
    product = np.fft.rfft(delayed, num_fft) * np.conj(np.fft.rfft(reference, num_fft))
    correlation = np.fft.irfft(product, num_fft)
    window = np.concatenate([correlation[-lead:], correlation[: lag + 1]])
    energy = float(np.linalg.norm(delayed) * np.linalg.norm(reference))
    if energy == 0.0:
        return 0, 1.0
    best = int(np.argmax(window))
    return best - lead, float(window[best]) / energy


def _envelope(waveform: Waveform) -> Float[NDArray[Any], " steps"]:
    smooth = np.convolve(np.abs(waveform), np.hanning(161), mode="same")[::ENVELOPE_HOP]
    return np.asarray(smooth - smooth.mean(), dtype=np.float64)
