"""Additive noise: recorded, stationary, babble, a second talker, clicks."""

import numpy as np

from urgentmos.simulate.distortion import (
    SAMPLE_RATE,
    DistortionKind,
    Params,
    Waveform,
    between,
)
from urgentmos.simulate.levels import SILENCE, add_noise, at_speech_level, excerpt
from urgentmos.simulate.sources import Sources
from urgentmos.simulate.spectrum import filtered, stft

MILD_SNR_DB, SEVERE_SNR_DB = 40.0, -10.0
COLORS = ("white", "pink", "brown", "speech_shaped")


def snr_at(strength: float) -> float:
    """Return the signal-to-noise ratio in dB of a strength."""
    return between(MILD_SNR_DB, SEVERE_SNR_DB, strength)


def sample_recorded(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    """Draw a recorded noise and where it starts."""
    return {
        "noise": sources.draw_noise(rng),
        "start": float(rng.uniform()),
        "snr_db": snr_at(strength),
    }


def recorded_noise(params: Params, *, num_samples: int, sources: Sources) -> Waveform:
    """Return the drawn stretch of recorded noise, at its own level.

    Raises:
        ValueError: It is silent, and no gain brings it to a signal-to-noise ratio.
    """
    noise = sources.noise(params["noise"])
    start = int(params["start"] * len(noise))
    stretch = excerpt(noise, start=start, num_samples=num_samples)
    if not np.any(np.abs(stretch) > SILENCE):
        raise ValueError(f"noise {params['noise']} is silent from {start / SAMPLE_RATE:.1f} s on")
    return stretch


def _apply_recorded(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    noise = recorded_noise(params, num_samples=len(waveform), sources=sources)
    return add_noise(waveform, noise, snr_db=params["snr_db"])


def _sample_stationary(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {"color": COLORS[rng.integers(len(COLORS))], "snr_db": snr_at(strength)}


def stationary_noise(color: str, *, speech: Waveform, rng: np.random.Generator) -> Waveform:
    """Return noise of one colour, as long as the speech; its level is arbitrary."""
    white = rng.standard_normal(len(speech)).astype(np.float32)
    if color == "white":
        return white
    if color == "speech_shaped":
        spectrogram = stft(speech, window_samples=512, hop_samples=256)
        mean = np.sqrt(np.mean(np.abs(spectrogram) ** 2, axis=0))
        grid = np.linspace(0, SAMPLE_RATE / 2, len(mean))
        return filtered(white, lambda frequency: np.interp(frequency, grid, mean))
    power = {"pink": 0.5, "brown": 1.0}[color]
    return filtered(white, lambda frequency: np.maximum(frequency, 20.0) ** -power)


def _apply_stationary(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    noise = stationary_noise(params["color"], speech=waveform, rng=rng)
    return add_noise(waveform, noise, snr_db=params["snr_db"])


def _sample_babble(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    count = int(rng.integers(3, 9))
    return {
        "talkers": sources.draw_talkers(rng, count=count),
        "starts": rng.uniform(size=count).tolist(),
        "snr_db": snr_at(strength),
    }


def _sample_talker(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "talkers": sources.draw_talkers(rng, count=1),
        "starts": [float(rng.uniform())],
        "snr_db": between(40, -3, strength),
    }


def _apply_talkers(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    babble = np.zeros(len(waveform), dtype=np.float32)
    for name, start in zip(params["talkers"], params["starts"], strict=True):
        speech = sources.talker(name)
        stretch = excerpt(speech, start=int(start * len(speech)), num_samples=len(waveform))
        babble += at_speech_level(stretch, -25.0)
    return add_noise(waveform, babble, snr_db=params["snr_db"])


def _sample_clicks(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "per_second": float(rng.uniform(1, 25)),
        "decay_ms": float(rng.uniform(0.05, 4)),
        "snr_db": snr_at(strength),
    }


def _apply_clicks(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    num_samples = len(waveform)
    count = max(1, round(params["per_second"] * num_samples / SAMPLE_RATE))
    train = np.zeros(num_samples)
    heights = rng.standard_normal(count) * 10 ** (rng.uniform(-1, 0, count))
    np.add.at(train, rng.integers(num_samples, size=count), heights)
    decay_samples = params["decay_ms"] * SAMPLE_RATE / 1000
    length = int(8 * decay_samples) + 2
    click = np.exp(-np.arange(length) / decay_samples) * rng.standard_normal(length)
    clicks = np.convolve(train, click)[:num_samples].astype(np.float32)
    return add_noise(waveform, clicks, snr_db=params["snr_db"])


RECORDED_NOISE = DistortionKind(sample_recorded, _apply_recorded, stage=1, material=("noise",))
STATIONARY_NOISE = DistortionKind(_sample_stationary, _apply_stationary, stage=1)
BABBLE = DistortionKind(_sample_babble, _apply_talkers, stage=1, material=("speech",))
COMPETING_TALKER = DistortionKind(_sample_talker, _apply_talkers, stage=1, material=("speech",))
CLICKS = DistortionKind(_sample_clicks, _apply_clicks, stage=1)
