"""Outputs of speech enhancement that does too much: musical noise, speech distortion."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from urgentmos.extras import require
from urgentmos.ndarray import NDArray
from urgentmos.simulate.distortion import (
    DistortionKind,
    Params,
    Waveform,
    between,
    between_ratio,
)
from urgentmos.simulate.levels import scaled_noise, with_level_of
from urgentmos.simulate.noise import COLORS, recorded_noise, sample_recorded, stationary_noise
from urgentmos.simulate.sources import Sources
from urgentmos.simulate.spectrum import Spectrogram, istft, mel_filters, stft

WINDOW, HOP = 512, 128
Power = Float[NDArray[Any], "frames bins"]
Gain = Float[NDArray[Any], "frames bins"]
FLOOR = 1e-10


def _sample_noise(rng: np.random.Generator, sources: Sources) -> Params:
    """Draw the noise to be removed: a recorded one when there is one, else stationary."""
    recorded = bool(rng.uniform() < 0.6)
    color = COLORS[rng.integers(len(COLORS))]
    if recorded and sources.noises:
        return sample_recorded(0.0, rng, sources)
    return {"color": color}


def _noise(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    if "color" in params["noise"]:
        noise = stationary_noise(params["noise"]["color"], speech=waveform, rng=rng)
    else:
        noise = recorded_noise(params["noise"], num_samples=len(waveform), sources=sources)
    return scaled_noise(noise, speech=waveform, snr_db=params["snr_db"])


def _resynthesised(spectrogram: Spectrogram, waveform: Waveform) -> Waveform:
    enhanced = istft(spectrogram, window_samples=WINDOW, hop_samples=HOP, num_samples=len(waveform))
    return with_level_of(enhanced, waveform)


def _spectrogram(waveform: Waveform) -> Spectrogram:
    return stft(waveform, window_samples=WINDOW, hop_samples=HOP)


def noise_floor(noisy: Power, *, quantile: float) -> Float[NDArray[Any], " bins"]:
    """Guess the noise power of each bin from the quiet frames."""
    return np.asarray(np.quantile(noisy, quantile, axis=0) + FLOOR)


def _blind_kind(
    gain_of: Callable[[Power, Float[NDArray[Any], " bins"], Params], Gain],
    sample_own: Callable[[float, np.random.Generator], Params],
    *,
    tools: tuple[str, ...] = (),
) -> DistortionKind:
    """Add noise, guess its spectrum from the mixture, and apply a gain."""

    def sample(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
        return {
            "noise": _sample_noise(rng, sources),
            "snr_db": between(30, -5, strength),
            "quantile": float(rng.uniform(0.1, 0.5)),
            **sample_own(strength, rng),
        }

    def apply(
        waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
    ) -> Waveform:
        noisy = _spectrogram(waveform + _noise(waveform, params, rng, sources))
        power = np.abs(noisy) ** 2
        floor = noise_floor(power, quantile=params["quantile"])
        return _resynthesised(noisy * gain_of(power, floor, params), waveform)

    return DistortionKind(sample, apply, stage=3, tools=tools)


def _own_subtraction(strength: float, rng: np.random.Generator) -> Params:
    return {
        "over_subtraction": between_ratio(1.0, 8.0, strength),
        "floor_db": float(rng.uniform(-40, -12)),
        "exponent": float(rng.choice([1.0, 2.0])),
    }


def _subtraction_gain(power: Power, noise: Float[NDArray[Any], " bins"], params: Params) -> Gain:
    """Subtract a multiple of the noise (Berouti 1979); isolated remains sound musical."""
    exponent = params["exponent"]
    ratio = (noise / (power + FLOOR)) ** (exponent / 2)
    kept = np.maximum(1 - params["over_subtraction"] * ratio, 0) ** (1 / exponent)
    return np.asarray(np.maximum(kept, 10 ** (params["floor_db"] / 20)))


def _own_wiener(strength: float, rng: np.random.Generator) -> Params:
    return {
        "noise_gain": between_ratio(1.0, 10.0, strength),
        "smoothing": float(rng.choice([0.0, 0.5, 0.9])),
        "floor_db": float(rng.uniform(-40, -15)),
    }


def _smoothed(values: Power, smoothing: float) -> Power:
    if smoothing == 0.0:
        return values
    smooth = np.empty_like(values)
    state = values[0]
    for index, frame in enumerate(values):
        state = smoothing * state + (1 - smoothing) * frame
        smooth[index] = state
    return smooth


def _wiener_gain(power: Power, noise: Float[NDArray[Any], " bins"], params: Params) -> Gain:
    noise = noise * params["noise_gain"]
    prior = np.maximum(_smoothed(power, params["smoothing"]) / noise - 1, 0)
    return np.asarray(np.maximum(prior / (1 + prior), 10 ** (params["floor_db"] / 20)))


def _own_log_mmse(strength: float, rng: np.random.Generator) -> Params:
    return {
        "noise_gain": between_ratio(1.0, 12.0, strength),
        "smoothing": float(rng.choice([0.8, 0.92, 0.98, 0.995])),
        "floor_db": float(rng.uniform(-40, -20)),
    }


def _log_mmse_gain(power: Power, noise: Float[NDArray[Any], " bins"], params: Params) -> Gain:
    """Log-spectral amplitude estimator, decision-directed (Ephraim and Malah 1985, Eq. 20)."""
    exponential_integral = require("scipy.special", extra="simulate").exp1
    posterior = np.minimum(power / (noise * params["noise_gain"]), 1e3)
    smoothing = params["smoothing"]
    lowest = 10 ** (params["floor_db"] / 20)
    gains = np.empty_like(posterior)
    clean = np.zeros_like(posterior[0])
    for index, now in enumerate(posterior):
        prior = smoothing * clean + (1 - smoothing) * np.maximum(now - 1, 0) + 1e-3
        wiener = prior / (1 + prior)
        v = np.maximum(wiener * now, 1e-6)
        gain = np.minimum(wiener * np.exp(0.5 * exponential_integral(v)), 1.0)
        clean = gain**2 * now
        gains[index] = np.maximum(gain, lowest)
    return np.asarray(gains)


def _sample_mask(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "noise": _sample_noise(rng, sources),
        "snr_db": float(rng.uniform(-5, 15)),
        "binary": bool(rng.uniform() < 0.4),
        "error_share": between_ratio(0.002, 0.5, strength),
        "error_frames": int(rng.choice([1, 3, 8])),
        "error_bins": int(rng.choice([1, 4, 12])),
        "floor_db": float(rng.uniform(-40, -12)),
    }


def _apply_mask(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """An ideal mask in which blocks of time and frequency are replaced by their opposite."""
    noise = _noise(waveform, params, rng, sources)
    noisy = _spectrogram(waveform + noise)
    clean_power = np.abs(_spectrogram(waveform)) ** 2
    mask = clean_power / (clean_power + np.abs(_spectrogram(noise)) ** 2 + FLOOR)
    mask = (mask > 0.5).astype(np.float32) if params["binary"] else np.sqrt(mask)
    frames, bins = mask.shape
    coarse = (frames // params["error_frames"] + 1, bins // params["error_bins"] + 1)
    draws = np.repeat(rng.uniform(size=coarse), params["error_frames"], axis=0)
    draws = np.repeat(draws, params["error_bins"], axis=1)[:frames, :bins]
    mask = np.where(draws < params["error_share"], 1 - mask, mask)
    return _resynthesised(noisy * np.maximum(mask, 10 ** (params["floor_db"] / 20)), waveform)


def _sample_coarse(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "noise": _sample_noise(rng, sources),
        "snr_db": between(25, -8, strength),
        "bands": round(between_ratio(80, 6, strength)),
        "frames": round(between_ratio(1, 16, strength)),
        "floor_db": float(rng.uniform(-40, -15)),
    }


def _apply_coarse(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """A ratio mask with few bands and frames: noise is left around the speech."""
    noise = _noise(waveform, params, rng, sources)
    noisy = _spectrogram(waveform + noise)
    filters = mel_filters(params["bands"], num_bins=noisy.shape[1])
    weights = filters / (filters.sum(axis=1, keepdims=True) + 1e-9)
    clean, other = (
        _held(np.abs(_spectrogram(part)) ** 2 @ weights.T, params["frames"])
        for part in (waveform, noise)
    )
    shares = filters / (filters.sum(axis=0, keepdims=True) + 1e-9)
    mask = np.sqrt(clean / (clean + other + FLOOR)) @ shares
    return _resynthesised(noisy * np.maximum(mask, 10 ** (params["floor_db"] / 20)), waveform)


def _held(power: Power, num_frames: int) -> Power:
    padded = np.pad(power, ((0, -len(power) % num_frames), (0, 0)), mode="edge")
    means = padded.reshape(-1, num_frames, power.shape[1]).mean(axis=1)
    return np.repeat(means, num_frames, axis=0)[: len(power)]


def _sample_suppression(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "threshold_db": between(-75, -12, strength),
        "slope": float(rng.uniform(1.0, 4.0)),
        "smoothing": float(rng.choice([0.0, 0.6, 0.9])),
        "range_db": between(6, 45, strength),
        "by_bin": bool(rng.uniform() < 0.6),
    }


def _apply_suppression(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Whatever is quieter than a threshold is pushed down: weak sounds and endings vanish."""
    clean = _spectrogram(waveform)
    power = np.abs(clean) ** 2
    if not params["by_bin"]:
        power = np.broadcast_to(power.mean(axis=1, keepdims=True), power.shape)
    level_db = 10 * np.log10(_smoothed(power, params["smoothing"]) + FLOOR)
    below = np.minimum(level_db - level_db.max() - params["threshold_db"], 0)
    gain_db = np.maximum(params["slope"] * below, -params["range_db"])
    return _resynthesised(clean * 10 ** (gain_db / 20), waveform)


def _sample_leak(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "noise": _sample_noise(rng, sources),
        "snr_db": between(25, -10, strength),
        "power": float(rng.choice([0.5, 1.0, 2.0])),
        "jitter_db": between(1, 12, strength),
    }


def _apply_leak(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """A Wiener mask from the true powers, with the unsteady gain of an untrained estimator."""
    noise = _noise(waveform, params, rng, sources)
    noisy = _spectrogram(waveform + noise)
    clean_power = np.abs(_spectrogram(waveform)) ** 2
    mask = clean_power / (clean_power + np.abs(_spectrogram(noise)) ** 2 + FLOOR)
    jitter = rng.standard_normal(mask.shape).astype(np.float32)
    # Errors of a network are smooth over a few bins and frames.
    jitter = _smoothed(_smoothed(jitter, 0.7).T, 0.7).T
    jitter *= params["jitter_db"] / (jitter.std() + 1e-9)
    gain = np.minimum(mask ** params["power"] * 10 ** (jitter / 20), 1.5)
    return _resynthesised(noisy * np.maximum(gain, 0.01), waveform)


SPECTRAL_SUBTRACTION = _blind_kind(_subtraction_gain, _own_subtraction)
WIENER = _blind_kind(_wiener_gain, _own_wiener)
LOG_MMSE = _blind_kind(_log_mmse_gain, _own_log_mmse, tools=("scipy",))
MASK_ERRORS = DistortionKind(_sample_mask, _apply_mask, stage=3)
COARSE_MASK = DistortionKind(_sample_coarse, _apply_coarse, stage=3)
OVER_SUPPRESSION = DistortionKind(_sample_suppression, _apply_suppression, stage=3)
UNSTEADY_MASK = DistortionKind(_sample_leak, _apply_leak, stage=3)
