"""Re-synthesis from magnitudes alone: Griffin-Lim, random and zero phase, coarse spectra."""

from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from urgentmos.ndarray import NDArray
from urgentmos.simulate.distortion import (
    DistortionKind,
    Params,
    Waveform,
    between,
    between_ratio,
)
from urgentmos.simulate.levels import with_level_of
from urgentmos.simulate.sources import Sources
from urgentmos.simulate.spectrum import Spectrogram, istft, mel_filters, stft

Magnitude = Float[NDArray[Any], "frames bins"]


def griffin_lim(
    magnitude: Magnitude,
    phase: Spectrogram,
    *,
    hop_samples: int,
    num_samples: int,
    iterations: int,
    momentum: float,
) -> Waveform:
    """Find a waveform whose spectrogram has the given magnitude.

    Args:
        magnitude: Of ``stft`` with windows of ``2 (bins - 1)`` samples.
        phase: Unit phases to start from.
        hop_samples: Hop of the spectrogram.
        num_samples: Length of the result.
        iterations: 0 keeps the phases given.
        momentum: 0 for Griffin and Lim (1984); Perraudin et al. (2013) recommend 0.99.
    """
    window = 2 * (magnitude.shape[1] - 1)
    estimate = magnitude * phase
    previous = np.zeros_like(estimate)
    for _ in range(iterations):
        waveform = istft(
            estimate, window_samples=window, hop_samples=hop_samples, num_samples=num_samples
        )
        consistent = stft(waveform, window_samples=window, hop_samples=hop_samples)
        moved = consistent + np.float32(momentum) * (consistent - previous)
        previous = consistent
        estimate = magnitude * (moved / np.maximum(np.abs(moved), 1e-9))
    return istft(estimate, window_samples=window, hop_samples=hop_samples, num_samples=num_samples)


def _random_phase(shape: tuple[int, ...], rng: np.random.Generator) -> Spectrogram:
    return np.asarray(np.exp(2j * np.pi * rng.uniform(size=shape)), dtype=np.complex64)


def _through_mel(magnitude: Magnitude, num_bands: int) -> Magnitude:
    """Reduce to a mel spectrogram and back by the pseudo-inverse."""
    filters = mel_filters(num_bands, num_bins=magnitude.shape[1])
    return _from_mel(magnitude @ filters.T, filters)


def _from_mel(
    mel: Float[NDArray[Any], "frames bands"], filters: Float[NDArray[Any], "bands bins"]
) -> Magnitude:
    inverse = np.linalg.pinv(filters).astype(np.float32)
    return np.asarray(np.maximum(mel @ inverse.T, 0))


def _inverted(
    magnitude: Magnitude, waveform: Waveform, params: Params, rng: np.random.Generator
) -> Waveform:
    """Find phases by Griffin-Lim, from random ones on, and give the result the input's level."""
    result = griffin_lim(
        magnitude,
        _random_phase(magnitude.shape, rng),
        hop_samples=params["window"] // 4,
        num_samples=len(waveform),
        iterations=params["iterations"],
        momentum=params["momentum"],
    )
    return with_level_of(result, waveform)


def _sample_griffin_lim(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "iterations": round(between_ratio(28, 1, strength)),
        "momentum": float(rng.choice([0.0, 0.99])),
        "mel_bands": None,
        "window": int(rng.choice([512, 1024])),
    }


def _sample_mel(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "iterations": int(rng.choice([4, 12, 24])),
        "momentum": float(rng.choice([0.0, 0.99])),
        "mel_bands": round(between_ratio(128, 16, strength)),
        "window": int(rng.choice([512, 1024])),
    }


def _apply_griffin_lim(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    window = params["window"]
    magnitude = np.abs(stft(waveform, window_samples=window, hop_samples=window // 4))
    if params["mel_bands"] is not None:
        magnitude = _through_mel(magnitude, params["mel_bands"])
    return _inverted(magnitude, waveform, params, rng)


def _sample_predicted(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "window": int(rng.choice([400, 800, 1024])),
        "mel_bands": int(rng.choice([40, 64, 80, 128])),
        "frames": between_ratio(1.1, 10, strength),
        "bands": between_ratio(1.0, 4, strength),
        "power": float(rng.uniform(1.0, 1.5)),
        "iterations": int(rng.choice([8, 30, 60])),
        "momentum": float(rng.choice([0.0, 0.99])),
    }


def _apply_predicted(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """A mel spectrogram as a synthesiser predicts it, too smooth, sharpened, and inverted.

    Raising the magnitude to a power before Griffin-Lim hides some of the smoothness (Wang et al.,
    "Tacotron", 2017, §3.3).
    """
    window = params["window"]
    magnitude = np.abs(stft(waveform, window_samples=window, hop_samples=window // 4))
    filters = mel_filters(params["mel_bands"], num_bins=magnitude.shape[1])
    bands = magnitude @ filters.T
    logs = np.log(np.maximum(bands, 1e-5 * bands.max() + 1e-9))
    logs = _blurred(logs, params["frames"])
    logs = _blurred(logs.T, params["bands"]).T
    smooth = _from_mel(np.exp(logs), filters) ** params["power"]
    return _inverted(smooth, waveform, params, rng)


def _sample_phase(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "share": between(0.05, 1.0, strength),
        "phase": str(rng.choice(["random", "zero", "held"])),
        "window": int(rng.choice([256, 512, 1024])),
    }


def _apply_phase(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Turn each bin's phase towards a random, zero or constant one, by a share of the way."""
    window = params["window"]
    spectrogram = stft(waveform, window_samples=window, hop_samples=window // 4)
    angle = np.angle(spectrogram)
    if params["phase"] == "random":
        target = rng.uniform(-np.pi, np.pi, size=angle.shape)
    elif params["phase"] == "zero":
        # Zero at the window's centre, so that the energy stays where it was.
        target = np.broadcast_to(np.pi * np.arange(angle.shape[1]), angle.shape)
    else:
        step = np.pi / 2 * np.arange(angle.shape[1])
        start = rng.uniform(-np.pi, np.pi, size=(1, angle.shape[1]))
        target = start + step * np.arange(len(angle))[:, None]
    turn = np.angle(np.exp(1j * (target - angle)))
    turned = np.abs(spectrogram) * np.exp(1j * (angle + params["share"] * turn))
    result = istft(
        turned.astype(np.complex64),
        window_samples=window,
        hop_samples=window // 4,
        num_samples=len(waveform),
    )
    return with_level_of(result, waveform)


def _sample_blur(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    over_time = bool(rng.uniform() < 0.5)
    width = between_ratio(1.2, 14, strength)
    return {
        "over_time": over_time,
        "frames": width if over_time else 1.0,
        "bins": 1.0 if over_time else width,
        "phase": str(rng.choice(["kept", "griffin_lim"])),
    }


def _apply_blur(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Blur the log magnitude, as a network trained on squared error does."""
    spectrogram = stft(waveform, window_samples=512, hop_samples=128)
    magnitude = np.abs(spectrogram) + 1e-5
    log_magnitude = np.log(magnitude)
    log_magnitude = _blurred(log_magnitude, params["frames"])
    log_magnitude = _blurred(log_magnitude.T, params["bins"]).T
    iterations = 12 if params["phase"] == "griffin_lim" else 0
    phase = (
        _random_phase(magnitude.shape, rng)
        if iterations
        else (spectrogram / np.maximum(np.abs(spectrogram), 1e-9))
    )
    result = griffin_lim(
        np.exp(log_magnitude).astype(np.float32),
        phase,
        hop_samples=128,
        num_samples=len(waveform),
        iterations=iterations,
        momentum=0.9,
    )
    return with_level_of(result, waveform)


def _blurred(values: Magnitude, width: float) -> Magnitude:
    """Average over the first axis with a Gaussian of the given width."""
    if width <= 1.0:
        return values
    reach = int(np.ceil(2.5 * width / 2))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (width / 2)) ** 2)
    weights /= weights.sum()
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.asarray(
        sum(w * padded[i : i + len(values)] for i, w in enumerate(weights)), dtype=np.float32
    )


def _sample_low_rate(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {"every": round(between_ratio(2, 24, strength)), "iterations": int(rng.choice([0, 8]))}


def _apply_low_rate(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Keep one spectral frame in ``every``, join them by lines, and invert."""
    spectrogram = stft(waveform, window_samples=512, hop_samples=128)
    magnitude = np.abs(spectrogram)
    kept = np.arange(0, len(magnitude) + params["every"], params["every"])
    kept = np.minimum(kept, len(magnitude) - 1)
    place = np.arange(len(magnitude)) / params["every"]
    left = place.astype(int)
    part = (place - left)[:, None].astype(np.float32)
    joined = (1 - part) * magnitude[kept[left]] + part * magnitude[kept[left + 1]]
    phase = spectrogram / np.maximum(np.abs(spectrogram), 1e-9)
    if params["iterations"]:
        phase = _random_phase(magnitude.shape, rng)
    result = griffin_lim(
        joined,
        phase,
        hop_samples=128,
        num_samples=len(waveform),
        iterations=params["iterations"],
        momentum=0.9,
    )
    return with_level_of(result, waveform)


def _sample_holes(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "share": between_ratio(0.01, 0.7, strength),
        "frames": int(rng.choice([1, 4, 16, 64])),
        "bins": int(rng.choice([1, 6, 20])),
        "depth_db": float(rng.uniform(15, 60)),
        "quiet_first": bool(rng.uniform() < 0.5),
    }


def _apply_holes(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Take out blocks of time and frequency, at random or the quiet ones, as codecs do."""
    spectrogram = stft(waveform, window_samples=512, hop_samples=128)
    frames, bins = spectrogram.shape
    height, width = params["frames"], params["bins"]
    padded = np.pad(spectrogram, ((0, -frames % height), (0, -bins % width)))
    blocks = padded.reshape(len(padded) // height, height, padded.shape[1] // width, width)
    power = np.mean(np.abs(blocks) ** 2, axis=(1, 3))
    order = power if params["quiet_first"] else rng.uniform(size=power.shape)
    removed = order <= np.quantile(order, params["share"])
    gain = np.where(removed, 10 ** (-params["depth_db"] / 20), 1.0).astype(np.float32)
    holed = (blocks * gain[:, None, :, None]).reshape(padded.shape)[:frames, :bins]
    result = istft(holed, window_samples=512, hop_samples=128, num_samples=len(waveform))
    return with_level_of(result, waveform)


def _sample_stretch(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    direction = float(rng.choice([-1.0, 1.0]))
    return {
        "rate": between_ratio(1.05, 2.5, strength) ** direction,
        "window": int(rng.choice([256, 512, 1024])),
    }


def _apply_stretch(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Change the duration with a phase vocoder and change it back: phasiness."""
    window = params["window"]
    hop = window // 4
    spectrogram = stft(waveform, window_samples=window, hop_samples=hop)
    middle_samples = int(len(waveform) * params["rate"])
    there = _stretched(spectrogram, params["rate"], hop_samples=hop)
    middle = istft(there, window_samples=window, hop_samples=hop, num_samples=middle_samples)
    again = stft(middle, window_samples=window, hop_samples=hop)
    back = _stretched(again, 1 / params["rate"], hop_samples=hop)
    result = istft(back, window_samples=window, hop_samples=hop, num_samples=len(waveform))
    result = np.pad(result, (0, len(waveform) - len(result)))
    return with_level_of(result, waveform)


def _stretched(
    spectrogram: Spectrogram, rate: float, *, hop_samples: int
) -> Complex[NDArray[Any], "stretched_frames bins"]:
    """Interpolate magnitudes in time and advance phases by the measured frequencies.

    The frame centred on sample 0 stays where it is.
    """
    frames, bins = spectrogram.shape
    window = 2 * (bins - 1)
    lead = window // 2 // hop_samples
    place = (np.arange(int((frames - lead) * rate) + lead) - lead) / rate + lead
    place = np.clip(place, 0, frames - 1.001)
    left = place.astype(int)
    part = (place - left)[:, None]
    magnitude = np.abs(spectrogram)
    magnitude = (1 - part) * magnitude[left] + part * magnitude[left + 1]
    expected = 2 * np.pi * hop_samples * np.arange(bins) / window
    angle = np.angle(spectrogram)
    advance = expected + np.angle(np.exp(1j * (np.diff(angle, axis=0) - expected)))
    phase = np.cumsum(np.concatenate([angle[:1], advance[left[1:] - 1]]), axis=0)
    return np.asarray(magnitude * np.exp(1j * phase), dtype=np.complex64)


GRIFFIN_LIM = DistortionKind(_sample_griffin_lim, _apply_griffin_lim, stage=4)
MEL_GRIFFIN_LIM = DistortionKind(_sample_mel, _apply_griffin_lim, stage=4)
PREDICTED_SPECTRUM = DistortionKind(_sample_predicted, _apply_predicted, stage=4)
WRONG_PHASE = DistortionKind(_sample_phase, _apply_phase, stage=4)
SPECTRAL_BLUR = DistortionKind(_sample_blur, _apply_blur, stage=4)
LOW_FRAME_RATE = DistortionKind(_sample_low_rate, _apply_low_rate, stage=4)
SPECTRAL_HOLES = DistortionKind(_sample_holes, _apply_holes, stage=4)
PHASINESS = DistortionKind(_sample_stretch, _apply_stretch, stage=4)
