"""Finding and undoing the delay between a recording and its reference."""

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from urgentmos.audio import SAMPLE_RATE
from urgentmos.ndarray import NDArray

Waveform: TypeAlias = Float[NDArray[Any], " _"]

MAX_LEAD_SAMPLES = SAMPLE_RATE // 50
MAX_LAG_SAMPLES = SAMPLE_RATE // 5
LISTENED_SAMPLES = 30 * SAMPLE_RATE
ENVELOPE_STEP = 16
ENVELOPE_CUTOFF_HZ = 20.0
ENVELOPE_BANDS_HZ = ((200, 500), (500, 1000), (1000, 1700), (1700, 2600), (2600, 3400))
TRUSTED_CORRELATION = 0.38
"""On a fixed signal, codecs that keep the waveform reach 0.50 and more, vocoders 0.29 and less."""

SURE_CORRELATION = 0.6
"""Vocoders' published samples agree at 0.41 and less a pitch period beside the right place."""

SAME_SPEECH, CLEARER = 0.6, 0.03
"""Envelopes of processed speech agree so well where it is late, and by so much better than where
it is not: at 0.65 to 1, and 0.05 to 0.6 better, in what systems have published. Mixtures with an
echo or another talker agree at 0.5 and less, at any delay."""

NEAR_SAMPLES = SAMPLE_RATE // 320
"""By so much envelopes may be wrong. A pitch period is longer."""

ROUNDED_UP = 0.3
"""Opus leads by 0.2 of a sample, AMR-NB and Speex by 0.5."""


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
    late, sent = _padded(delayed, reference)
    correlation = _correlation(late, sent, max_lead=MAX_LEAD_SAMPLES)
    if correlation.max() < TRUSTED_CORRELATION:
        envelopes = _envelope_correlation(late, sent, max_lead=MAX_LEAD_SAMPLES)
        return _rounded_down(int(np.argmax(envelopes)) - MAX_LEAD_SAMPLES)
    return _peak_lag(correlation) - MAX_LEAD_SAMPLES


def processed_lag_samples(processed: Waveform, reference: Waveform) -> int:
    """Return by how many samples published processed speech is late, negative where it is early.

    Its coder or its resynthesis may have moved it by 50 ms. Where the waveforms agree well, they
    say where it is. Of what is resynthesised they often agree best one pitch period beside: then
    the envelopes say about where it is (at no delay, unless they agree clearly better elsewhere),
    rounded down by up to 1 ms, and the waveforms, where they agree somewhat, exactly.

    Args:
        processed: Late or early by up to 0.2 s; its first half minute is listened to.
        reference: What it is compared with.
    """
    late, sent = _padded(processed[:LISTENED_SAMPLES], reference[:LISTENED_SAMPLES])
    waveforms = _correlation(late, sent, max_lead=MAX_LAG_SAMPLES)
    if waveforms.max() >= SURE_CORRELATION:
        return _peak_lag(waveforms) - MAX_LAG_SAMPLES
    envelopes = _envelope_correlation(late, sent, max_lead=MAX_LAG_SAMPLES)
    about = int(np.argmax(envelopes))
    if envelopes[about] < max(SAME_SPEECH, envelopes[MAX_LAG_SAMPLES] + CLEARER):
        about = MAX_LAG_SAMPLES
    first = max(about - NEAR_SAMPLES, 0)
    near = waveforms[first : about + NEAR_SAMPLES + 1]
    if near.max() < TRUSTED_CORRELATION:
        return _rounded_down(about - MAX_LAG_SAMPLES)
    return first + _peak_lag(near) - MAX_LAG_SAMPLES


def shifted(waveform: Waveform, *, delay: int, num_samples: int) -> Waveform:
    """Advance a waveform by ``delay`` samples and cut or zero-pad it to a length."""
    moved = waveform[delay:] if delay >= 0 else np.pad(waveform, (-delay, 0))
    moved = moved[:num_samples]
    return np.pad(moved, (0, num_samples - len(moved)))


def _padded(delayed: Waveform, reference: Waveform) -> tuple[Waveform, Waveform]:
    # A power of two, for the Fourier transforms.
    length = 1 << max(len(delayed), len(reference)).bit_length()
    late, sent = (np.pad(one, (0, length - len(one))) for one in (delayed, reference))
    return late, sent


def _envelope_correlation(
    late: Waveform, sent: Waveform, *, max_lead: int
) -> Float[NDArray[np.float64], " lags"]:
    pairs = zip(_envelopes(late), _envelopes(sent), strict=True)
    lags: NDArray[np.float64] = np.mean(
        [_correlation(a, b, max_lead=max_lead) for a, b in pairs], axis=0
    )
    return lags


def _correlation(
    late: Float[NDArray[Any], " samples"],
    sent: Float[NDArray[Any], " samples"],
    *,
    max_lead: int,
) -> Float[NDArray[np.float64], " lags"]:
    """Correlate at every lag from ``-max_lead`` to ``MAX_LAG_SAMPLES``."""
    # Lags wrap around, but none of those asked for meets another's end.
    num_fft = 1 << (len(late) + max_lead + MAX_LAG_SAMPLES).bit_length()
    product = np.fft.rfft(late, num_fft) * np.conj(np.fft.rfft(sent, num_fft))
    correlation = np.fft.irfft(product, num_fft)
    window = np.concatenate([correlation[-max_lead:], correlation[: MAX_LAG_SAMPLES + 1]])
    energy = float(np.linalg.norm(late) * np.linalg.norm(sent))
    return np.asarray(window / max(energy, 1e-12), dtype=np.float64)


def _rounded_down(lag: int) -> int:
    """Round down by up to 1 ms: envelopes say no more."""
    return lag // ENVELOPE_STEP * ENVELOPE_STEP


def _peak_lag(correlation: Float[NDArray[np.float64], " lags"]) -> int:
    """Return the place of the maximum, rounded down but for the little that codecs lead by."""
    return int(np.floor(_peak(correlation) + ROUNDED_UP))


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
