"""Re-synthesis by vocoders: WORLD, linear prediction, channel bands, sinusoids."""

import warnings
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from urgentmos.data.alignment import shifted
from urgentmos.extras import require
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
from urgentmos.simulate.spectrum import istft, mel_filters, stft

PERIOD_MS = 5.0
HOP = 80
Track = Float[NDArray[Any], " frames"]


def _pyworld() -> ModuleType:
    with warnings.catch_warnings():
        # pyworld imports the deprecated pkg_resources.
        warnings.simplefilter("ignore")
        return require("pyworld", extra="simulate")


def fundamental(waveform: Waveform) -> Track:
    """Return the fundamental frequency every 5 ms, 0 where there is none."""
    world = _pyworld()
    samples = waveform.astype(np.float64)
    rough, times = world.dio(samples, SAMPLE_RATE, frame_period=PERIOD_MS, speed=4)
    return np.asarray(world.stonemask(samples, rough, times, SAMPLE_RATE))


def _sample_world(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    damage = str(
        rng.choice(["none", "pitch", "envelope", "aperiodicity", "all"], p=[0.08] + [0.23] * 4)
    )
    envelope, pitch = damage in {"envelope", "all"}, damage in {"pitch", "all"}
    return {
        "damage": damage,
        "pitch_flattening": strength if pitch else 0.0,
        "pitch_jitter": float(rng.choice([0.0, 0.15])) * strength if pitch else 0.0,
        "pitch_shift": float(rng.choice([-1.0, 0.0, 1.0])) * 0.4 * strength if pitch else 0.0,
        "cepstral_order": round(between_ratio(60, 8, strength)) if envelope else None,
        "envelope_frames": round(between_ratio(1, 20, strength)) if envelope else 1,
        "voicing": str(rng.choice(["buzzy", "whispered"])),
        "voicing_share": strength if damage in {"aperiodicity", "all"} else 0.0,
    }


def _apply_world(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Analyse and synthesise with WORLD, with damaged pitch, envelope or aperiodicity."""
    world = _pyworld()
    samples = waveform.astype(np.float64)
    pitch = fundamental(waveform)
    times = np.arange(len(pitch)) * PERIOD_MS / 1000
    envelope = world.cheaptrick(samples, pitch, times, SAMPLE_RATE)
    aperiodicity = world.d4c(samples, pitch, times, SAMPLE_RATE)
    pitch = _damaged_pitch(pitch, params, rng)
    if params["cepstral_order"] is not None:
        envelope = _smooth_envelope(envelope, params)
    target = 0.0 if params["voicing"] == "buzzy" else 1.0
    aperiodicity += params["voicing_share"] * (target - aperiodicity)
    aperiodicity = np.clip(aperiodicity, 1e-3, 1 - 1e-9)
    result = world.synthesize(pitch, envelope, aperiodicity, SAMPLE_RATE, PERIOD_MS)
    result = shifted(result, delay=0, num_samples=len(waveform))
    return with_level_of(result.astype(np.float32), waveform)


def _damaged_pitch(pitch: Track, params: Params, rng: np.random.Generator) -> Track:
    voiced = pitch > 0
    if not voiced.any():
        return pitch
    logs = np.log(pitch[voiced])
    logs += params["pitch_flattening"] * (logs.mean() - logs)
    logs += params["pitch_jitter"] * rng.standard_normal(len(logs)) + params["pitch_shift"]
    damaged = np.zeros_like(pitch)
    damaged[voiced] = np.clip(np.exp(logs), 50, 800)
    return damaged


def _smooth_envelope(
    envelope: Float[NDArray[Any], "frames bins"], params: Params
) -> Float[NDArray[Any], "frames bins"]:
    logs = np.log(envelope + 1e-16)
    cepstrum = np.fft.irfft(logs, axis=1)
    order = params["cepstral_order"]
    cepstrum[:, order:-order] = 0
    logs = np.fft.rfft(cepstrum, axis=1).real
    width = params["envelope_frames"]
    padded = np.pad(logs, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
    total = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    return np.ascontiguousarray(np.exp((total[width:] - total[:-width]) / width))


def excitation(
    pitch: Track, *, num_samples: int, rng: np.random.Generator, noise_share: float
) -> Waveform:
    """Return pulses at the pitch where there is one and noise elsewhere, at unit power."""
    steps = np.arange(num_samples)
    frame = np.minimum(steps // HOP, len(pitch) - 1)
    frequency = pitch[frame]
    cycles = np.cumsum(frequency / SAMPLE_RATE)
    pulse = np.diff(np.floor(cycles), prepend=0.0) * np.sqrt(
        SAMPLE_RATE / np.maximum(frequency, 50)
    )
    noise = rng.standard_normal(num_samples)
    voiced = np.sqrt(1 - noise_share) * pulse + np.sqrt(noise_share) * noise
    return np.where(frequency > 0, voiced, noise).astype(np.float32)


def _sample_lpc(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "order": round(between(24, 8, strength)),
        "source": str(rng.choice(["pulses", "noise", "residual", "monotone"])),
        "noise_share": float(rng.uniform(0, 0.3)),
        "update_frames": round(between(1, 5, strength)),
        "residual_bits": between(4.0, 1.0, strength),
    }


def _apply_lpc(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Linear prediction in 20 ms frames, its residual replaced or coarsely quantised."""
    signal = require("scipy.signal", extra="simulate")
    num_samples, length = len(waveform), 2 * HOP
    emphasised = signal.lfilter([1, -0.95], [1], waveform)
    filters, gains = _predictors(emphasised, order=params["order"])
    # The middle frame of each stretch stands for all, so that nothing is delayed.
    every = params["update_frames"]
    held = np.arange(len(filters)) // every * every + every // 2
    held = np.minimum(held, len(filters) - 1)
    filters, gains = filters[held], gains[held]
    source = _lpc_source(emphasised, filters, params, rng)
    result = np.zeros(len(filters) * length)
    state = np.zeros(params["order"])
    for index, (predictor, gain) in enumerate(zip(filters, gains, strict=True)):
        stretch = source[index * length : (index + 1) * length]
        if params["source"] != "residual":
            stretch = stretch * gain
        result[index * length : (index + 1) * length], state = signal.lfilter(
            [1.0], predictor, stretch, zi=state
        )
    result = signal.lfilter([1], [1, -0.95], result)[:num_samples]
    return with_level_of(result.astype(np.float32), waveform)


def _predictors(
    emphasised: Float[NDArray[Any], " samples"], *, order: int
) -> tuple[Float[NDArray[Any], "frames coefficients"], Float[NDArray[Any], " frames"]]:
    """Levinson-Durbin over all frames at once; frames of 20 ms hop with 30 ms windows."""
    length, window = 2 * HOP, 3 * HOP
    num_frames = -(-len(emphasised) // length)
    margin = (window - length) // 2
    padded = np.pad(emphasised, (margin, num_frames * length + window - len(emphasised)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::length][:num_frames]
    frames = frames * np.hamming(window)
    spectrum = np.abs(np.fft.rfft(frames, 2 * window, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, axis=1)[:, : order + 1]
    correlation[:, 0] = correlation[:, 0] * 1.0001 + 1e-9
    predictors = np.zeros((num_frames, order + 1))
    predictors[:, 0] = 1.0
    error = correlation[:, 0].copy()
    for step in range(1, order + 1):
        sums = np.sum(predictors[:, :step] * correlation[:, step:0:-1], axis=1)
        reflection = -sums / error
        predictors[:, 1 : step + 1] += reflection[:, None] * predictors[:, step - 1 :: -1][:, :step]
        error *= 1 - reflection**2
    gains = np.sqrt(np.maximum(error, 1e-12) / np.sum(np.hamming(window) ** 2))
    return predictors, gains


def _lpc_source(
    emphasised: Float[NDArray[Any], " samples"],
    filters: Float[NDArray[Any], "frames coefficients"],
    params: Params,
    rng: np.random.Generator,
) -> Float[NDArray[Any], " samples"]:
    length = 2 * HOP
    num_samples = len(filters) * length
    if params["source"] == "noise":
        return rng.standard_normal(num_samples)
    if params["source"] == "residual":
        return _quantised_residual(emphasised, filters, params["residual_bits"])
    pitch = fundamental(emphasised.astype(np.float32))
    if params["source"] == "monotone":
        pitch = np.where(pitch > 0, np.median(pitch[pitch > 0]) if pitch.any() else 0.0, 0.0)
    return excitation(
        pitch, num_samples=num_samples, rng=rng, noise_share=params["noise_share"]
    ).astype(np.float64)


def _quantised_residual(
    emphasised: Float[NDArray[Any], " samples"],
    filters: Float[NDArray[Any], "frames coefficients"],
    bits: float,
) -> Float[NDArray[Any], " samples"]:
    length, order = 2 * HOP, filters.shape[1] - 1
    padded = np.pad(emphasised, (order, len(filters) * length - len(emphasised)))
    history = np.lib.stride_tricks.sliding_window_view(padded, order + 1)[:, ::-1]
    history = history.reshape(len(filters), length, order + 1)
    residual = np.einsum("fsc,fc->fs", history, filters)
    step = 4 * residual.std(axis=1, keepdims=True) / 2**bits + 1e-12
    return np.ravel((np.floor(residual / step) + 0.5) * step)


def _sample_channel(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "bands": round(between_ratio(48, 5, strength)),
        "cutoff_hz": between_ratio(160, 12, strength),
        "source": str(rng.choice(["pulses", "noise", "sawtooth"])),
        "noise_share": float(rng.uniform(0, 0.3)),
    }


def _apply_channel(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """A few bands of a carrier follow the levels of the speech in those bands."""
    num_samples = len(waveform)
    if params["source"] == "noise":
        carrier = rng.standard_normal(num_samples).astype(np.float32)
    elif params["source"] == "sawtooth":
        cycles = 110.0 * np.arange(num_samples) / SAMPLE_RATE
        carrier = (2 * (cycles % 1) - 1).astype(np.float32)
    else:
        carrier = excitation(
            fundamental(waveform),
            num_samples=num_samples,
            rng=rng,
            noise_share=params["noise_share"],
        )
    speech = stft(waveform, window_samples=512, hop_samples=128)
    source = stft(carrier, window_samples=512, hop_samples=128)
    filters = mel_filters(params["bands"], num_bins=speech.shape[1])
    weights = filters / (filters.sum(axis=1, keepdims=True) + 1e-9)
    shares = filters / (filters.sum(axis=0, keepdims=True) + 1e-9)
    smoothing = float(np.exp(-2 * np.pi * params["cutoff_hz"] * 128 / SAMPLE_RATE))
    wanted = _two_way_smoothed(np.abs(speech) ** 2 @ weights.T, smoothing)
    have = np.abs(source) ** 2 @ weights.T
    gain = np.sqrt(np.maximum(wanted, 0) / (have + 1e-6 * have.mean() + 1e-12)) @ shares
    result = istft(source * gain, window_samples=512, hop_samples=128, num_samples=num_samples)
    return with_level_of(result, waveform)


def _two_way_smoothed(
    values: Float[NDArray[Any], "frames bands"], smoothing: float
) -> Float[NDArray[Any], "frames bands"]:
    """Smooth over time forwards and backwards, so that nothing is delayed."""
    lfilter = require("scipy.signal", extra="simulate").lfilter
    for _ in range(2):
        values = lfilter([1 - smoothing], [1, -smoothing], values, axis=0)[::-1]
    return values


def _sample_sinusoids(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "partials": round(between_ratio(60, 3, strength)),
        "window": int(rng.choice([512, 1024])),
        "phase": str(rng.choice(["kept", "random"])),
    }


def _apply_sinusoids(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    """Keep only the strongest spectral peaks of each frame."""
    window = params["window"]
    spectrogram = stft(waveform, window_samples=window, hop_samples=window // 4)
    magnitude = np.abs(spectrogram)
    inner = magnitude[:, 1:-1]
    peak = (inner > magnitude[:, :-2]) & (inner >= magnitude[:, 2:])
    heights = np.where(peak, inner, 0.0)
    count = min(params["partials"], heights.shape[1])
    least = -np.partition(-heights, count - 1, axis=1)[:, count - 1 : count]
    kept = np.pad(peak & (heights >= least), ((0, 0), (1, 1)))
    # A partial is its peak and the two bins beside it.
    kept[:, 1:-1] |= kept[:, :-2] | kept[:, 2:]
    partials = spectrogram * kept
    if params["phase"] == "random":
        turn = rng.uniform(-np.pi, np.pi, size=(1, partials.shape[1]))
        partials = partials * np.exp(1j * turn)
    result = istft(
        partials.astype(np.complex64),
        window_samples=window,
        hop_samples=window // 4,
        num_samples=len(waveform),
    )
    return with_level_of(result, waveform)


WORLD = DistortionKind(_sample_world, _apply_world, stage=4, tools=("pyworld",))
LINEAR_PREDICTION = DistortionKind(_sample_lpc, _apply_lpc, stage=4, tools=("pyworld", "scipy"))
CHANNEL_VOCODER = DistortionKind(
    _sample_channel, _apply_channel, stage=4, tools=("pyworld", "scipy")
)
SINUSOIDS = DistortionKind(_sample_sinusoids, _apply_sinusoids, stage=4)
