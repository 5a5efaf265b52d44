"""Damage to the amplitude: clipping, few bits, MNRU, level jumps, gaps, hum, echo."""

import numpy as np

from urgentmos.simulate.distortion import (
    SAMPLE_RATE,
    DistortionKind,
    Params,
    Waveform,
    between,
    between_ratio,
)
from urgentmos.simulate.levels import add_noise, with_level_of
from urgentmos.simulate.sources import Sources


def _sample_hard(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "clipped_share": between_ratio(0.0003, 0.35, strength),
        "floor": float(rng.choice([1.0, 1.0, 0.3])),
    }


def _apply_hard(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    top = float(np.quantile(np.abs(waveform), 1 - params["clipped_share"]))
    if top == 0.0:
        return waveform
    # One polarity may clip earlier than the other, as in a badly biased amplifier.
    return with_level_of(np.clip(waveform, -top / params["floor"], top), waveform)


def _sample_soft(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {"drive_db": between(0, 36, strength), "bias": float(rng.uniform(-0.1, 0.1))}


def _apply_soft(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    peak = max(float(np.abs(waveform).max()), 1e-6)
    driven = waveform / peak * 10 ** (params["drive_db"] / 20)
    bias = params["bias"]
    return with_level_of((np.tanh(driven + bias) - np.tanh(bias)).astype(np.float32), waveform)


def _sample_bits(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {"bits": between(11.0, 3.0, strength), "dither": bool(rng.uniform() < 0.3)}


def _apply_bits(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    step = 2 * max(float(np.abs(waveform).max()), 1e-6) / 2 ** params["bits"]
    dither = rng.uniform(-0.5, 0.5, len(waveform)) if params["dither"] else 0.0
    return np.asarray(np.round(waveform / step + dither) * step, dtype=np.float32)


def _sample_mnru(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {"q_db": between(40, -2, strength)}


def _apply_mnru(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Noise that follows the speech, ITU-T P.810: y = x (1 + 10^(-Q/20) N)."""
    noise = rng.standard_normal(len(waveform)).astype(np.float32)
    return np.asarray(waveform * (1 + np.float32(10 ** (-params["q_db"] / 20)) * noise))


def _sample_jumps(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    count = int(rng.integers(1, 9))
    return {
        "range_db": between(2, 40, strength),
        "at": np.sort(rng.uniform(size=count)).tolist(),
        "gains": rng.uniform(-1, 0, size=count + 1).tolist(),
        "ramp_ms": float(rng.choice([1.0, 50.0])),
    }


def _apply_jumps(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    num_samples = len(waveform)
    at = (np.array(params["at"]) * num_samples).astype(int)
    segment = np.searchsorted(at, np.arange(num_samples), side="right")
    gain_db = params["range_db"] * np.array(params["gains"])[segment]
    ramp = max(1, int(params["ramp_ms"] * SAMPLE_RATE / 1000))
    padded = np.pad(gain_db, (ramp, ramp), mode="edge")
    total = np.concatenate([[0.0], np.cumsum(padded)])
    smooth = (total[ramp:] - total[:-ramp]) / ramp
    gain_db = smooth[ramp // 2 + 1 :][:num_samples]
    return with_level_of((waveform * 10 ** (gain_db / 20)).astype(np.float32), waveform)


def _sample_gaps(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "per_second": between_ratio(0.4, 8.0, strength),
        "gap_ms": between_ratio(10.0, 90.0, strength),
        "fade_ms": float(rng.choice([0.2, 3.0])),
    }


def _apply_gaps(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    num_samples = len(waveform)
    count = max(1, round(params["per_second"] * num_samples / SAMPLE_RATE))
    # The order of the places is fixed, so that a stronger version adds gaps to a weaker one's.
    places = rng.uniform(size=count)
    half = params["gap_ms"] * SAMPLE_RATE / 2000
    fade = params["fade_ms"] * SAMPLE_RATE / 1000
    centres = np.sort(places) * num_samples
    steps = np.arange(num_samples)
    after = np.clip(np.searchsorted(centres, steps), 0, count - 1)
    before = np.clip(after - 1, 0, count - 1)
    distance = np.minimum(np.abs(steps - centres[after]), np.abs(steps - centres[before]))
    return np.asarray(waveform * np.clip((distance - half) / fade, 0, 1), dtype=np.float32)


def _sample_hum(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    count = int(rng.integers(1, 20))
    return {
        "mains_hz": float(rng.choice([50.0, 60.0])),
        "harmonics_db": (-rng.uniform(0, 30, size=count)).tolist(),
        "snr_db": between(40, -8, strength),
    }


def _apply_hum(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    time_s = np.arange(len(waveform)) / SAMPLE_RATE
    hum = np.zeros(len(waveform))
    for number, level_db in enumerate(params["harmonics_db"], start=1):
        phase = 2 * np.pi * (number * params["mains_hz"] * time_s + rng.uniform())
        hum += 10 ** (level_db / 20) * np.sin(phase)
    return add_noise(waveform, hum.astype(np.float32), snr_db=params["snr_db"])


def _sample_echo(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "delay_ms": float(rng.uniform(40, 450)),
        "repeats": int(rng.integers(1, 4)),
        "gain_db": between(-35, -2, strength),
    }


def _apply_echo(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    delay = int(params["delay_ms"] * SAMPLE_RATE / 1000)
    gain = 10 ** (params["gain_db"] / 20)
    result = waveform.copy()
    for repeat in range(1, params["repeats"] + 1):
        if repeat * delay < len(waveform):
            result[repeat * delay :] += gain**repeat * waveform[: -repeat * delay]
    return result


def _sample_compression(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "ratio": between_ratio(1.3, 12.0, strength),
        "release_ms": float(rng.uniform(20, 300)),
        "threshold_db": float(rng.uniform(-35, -20)),
    }


def _apply_compression(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Automatic gain control that pumps: quiet stretches, noise included, are raised."""
    hop = 80
    padded = np.pad(waveform, (0, -len(waveform) % hop)).reshape(-1, hop)
    level_db = 10 * np.log10(np.mean(padded**2, axis=1) + 1e-9)
    level_db -= level_db.max()
    release = np.exp(-hop / (params["release_ms"] * SAMPLE_RATE / 1000))
    smooth = np.empty_like(level_db)
    state = -60.0
    for index, level in enumerate(level_db):
        state = max(float(level), release * state + (1 - release) * float(level))
        smooth[index] = state
    gain_db = (1 / params["ratio"] - 1) * np.maximum(smooth, params["threshold_db"])
    steps = np.arange(len(waveform))
    gain = np.interp(steps, np.arange(len(gain_db)) * hop + hop / 2, 10 ** (gain_db / 20))
    return with_level_of((waveform * gain).astype(np.float32), waveform)


HARD_CLIPPING = DistortionKind(_sample_hard, _apply_hard, stage=2)
SOFT_CLIPPING = DistortionKind(_sample_soft, _apply_soft, stage=2)
BIT_DEPTH = DistortionKind(_sample_bits, _apply_bits, stage=2)
MNRU = DistortionKind(_sample_mnru, _apply_mnru, stage=2)
LEVEL_JUMPS = DistortionKind(_sample_jumps, _apply_jumps, stage=2)
DROPOUTS = DistortionKind(_sample_gaps, _apply_gaps, stage=6)
HUM = DistortionKind(_sample_hum, _apply_hum, stage=1)
ECHO = DistortionKind(_sample_echo, _apply_echo, stage=0)
COMPRESSION = DistortionKind(_sample_compression, _apply_compression, stage=2)
