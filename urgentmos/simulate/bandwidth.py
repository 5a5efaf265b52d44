"""Limited and coloured bandwidth: telephone bands, odd sampling rates, tilt, equalisation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import soxr

from urgentmos.data.alignment import shifted
from urgentmos.ndarray import NDArray
from urgentmos.simulate.distortion import (
    SAMPLE_RATE,
    DistortionKind,
    Params,
    Waveform,
    between,
    between_ratio,
)
from urgentmos.simulate.levels import with_level_of
from urgentmos.simulate.sources import Sources
from urgentmos.simulate.spectrum import filtered

RESAMPLERS = ("QQ", "LQ", "HQ")


def _low_pass(cutoff_hz: float, order: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda frequency: 1 / np.sqrt(1 + (frequency / cutoff_hz) ** (2 * order))


def _high_pass(cutoff_hz: float, order: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda frequency: 1 / np.sqrt(1 + (cutoff_hz / (frequency + 1e-3)) ** (2 * order))


def _apply_band(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    order = params["order"]
    below = _low_pass(params["high_hz"], order)
    above = _high_pass(params["low_hz"], min(order, 8.0))
    limited = filtered(waveform, lambda frequency: below(frequency) * above(frequency))
    return with_level_of(limited, waveform)


def _sample_telephone(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    """Around the 300-3400 Hz of a telephone line, wider when mild, narrower when severe."""
    return {
        "low_hz": between(150, 500, strength),
        "high_hz": between(3900, 2700, strength),
        "order": float(rng.choice([6, 20])),
    }


def _sample_low_pass(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    """From the 7 kHz of wide-band telephony down to muffled speech."""
    return {
        "low_hz": float(rng.choice([20.0, 50.0, 100.0])),
        "high_hz": between_ratio(7000, 900, strength),
        "order": float(rng.choice([2, 6, 20])),
    }


def _sample_high_pass(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "low_hz": between_ratio(90, 1800, strength),
        "high_hz": float(rng.choice([7000.0, 7900.0])),
        "order": float(rng.choice([2, 4, 8])),
    }


def _sample_rate(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "rate_hz": round(between_ratio(14000, 3000, strength)),
        "resampler": RESAMPLERS[rng.integers(len(RESAMPLERS))],
    }


def _apply_rate(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    quality = params["resampler"]
    lower = soxr.resample(waveform, SAMPLE_RATE, params["rate_hz"], quality)
    back = soxr.resample(lower, params["rate_hz"], SAMPLE_RATE, quality)
    return shifted(back, delay=0, num_samples=len(waveform))


def _sample_aliasing(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "rate_hz": between_ratio(13000, 3000, strength),
        "hold": bool(rng.uniform() < 0.5),
    }


def _apply_aliasing(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Take samples at a lower rate without a filter; hold them or join them by lines."""
    steps = np.arange(len(waveform), dtype=np.float64)
    taken = np.arange(0, len(waveform), SAMPLE_RATE / params["rate_hz"])
    values = waveform[taken.astype(int)]
    if params["hold"]:
        return np.asarray(values[np.searchsorted(taken, steps, side="right") - 1])
    return np.asarray(np.interp(steps, taken, values), dtype=np.float32)


def _sample_tilt(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    sign = float(rng.choice([-1.0, 1.0]))
    return {"db_per_octave": sign * between(1.0, 10.0, strength)}


def _apply_tilt(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    slope = params["db_per_octave"] / 20

    def gain(frequency: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(10 ** (slope * np.log2(np.clip(frequency, 60, 8000) / 1000)))

    return with_level_of(filtered(waveform, gain), waveform)


def _sample_equaliser(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    count = int(rng.integers(1, 6))
    return {
        "range_db": between(4, 36, strength),
        "centres_hz": (120 * 50 ** rng.uniform(size=count)).tolist(),
        "octaves": rng.uniform(0.15, 1.2, size=count).tolist(),
        "gains": rng.uniform(-1, 1, size=count).tolist(),
    }


def _apply_equaliser(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    def gain(frequency: NDArray[Any]) -> NDArray[Any]:
        octave = np.log2(np.maximum(frequency, 20))
        total_db = np.zeros_like(octave)
        bands = zip(params["centres_hz"], params["octaves"], params["gains"], strict=True)
        for centre_hz, width, share in bands:
            bump = np.exp(-0.5 * ((octave - np.log2(centre_hz)) / width) ** 2)
            total_db += params["range_db"] * share * bump
        return np.asarray(10 ** (total_db / 20))

    return with_level_of(filtered(waveform, gain), waveform)


TELEPHONE_BAND = DistortionKind(_sample_telephone, _apply_band, stage=2)
LOW_PASS = DistortionKind(_sample_low_pass, _apply_band, stage=2)
HIGH_PASS = DistortionKind(_sample_high_pass, _apply_band, stage=2)
ODD_RATE = DistortionKind(_sample_rate, _apply_rate, stage=2)
ALIASING = DistortionKind(_sample_aliasing, _apply_aliasing, stage=2)
TILT = DistortionKind(_sample_tilt, _apply_tilt, stage=2)
EQUALISER = DistortionKind(_sample_equaliser, _apply_equaliser, stage=2)
