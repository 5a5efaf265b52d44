"""Levels of speech and noise, and mixing them at a signal-to-noise ratio."""

import numpy as np

from urgentmos.simulate.distortion import Waveform

ACTIVE_RANGE_DB = 35.0
"""A 20 ms frame counts as speech when it lies within this range of the loudest frame."""

FRAME_SAMPLES = 320
SILENCE = 1e-8


def speech_level_db(waveform: Waveform) -> float:
    """Return the level of the active speech in dB relative to full scale, -160 for silence."""
    num_frames = max(1, len(waveform) // FRAME_SAMPLES)
    frames = waveform[: num_frames * FRAME_SAMPLES].reshape(num_frames, -1)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    active = power[power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)]
    return float(10 * np.log10(max(active.mean(), SILENCE**2)))


def with_level_of(waveform: Waveform, reference: Waveform) -> Waveform:
    """Scale a waveform to the speech level of another; silence stays silence."""
    return _scaled(waveform, speech_level_db(reference) - speech_level_db(waveform))


def at_speech_level(waveform: Waveform, level_db: float) -> Waveform:
    """Scale a waveform to a speech level in dB relative to full scale."""
    return _scaled(waveform, level_db - speech_level_db(waveform))


def _scaled(waveform: Waveform, gain_db: float) -> Waveform:
    if not np.any(np.abs(waveform) > SILENCE):
        return waveform
    return (waveform * np.float32(10 ** (gain_db / 20))).astype(np.float32)


def scaled_noise(noise: Waveform, *, speech: Waveform, snr_db: float) -> Waveform:
    """Scale noise so that the active speech stands ``snr_db`` above the noise's mean power."""
    power = float(np.mean(np.square(noise, dtype=np.float64)))
    if power <= SILENCE**2:
        return noise
    gain_db = speech_level_db(speech) - snr_db - 10 * np.log10(power)
    return (noise * np.float32(10 ** (gain_db / 20))).astype(np.float32)


def add_noise(speech: Waveform, noise: Waveform, *, snr_db: float) -> Waveform:
    """Mix speech with noise of the same length at a signal-to-noise ratio."""
    return speech + scaled_noise(noise, speech=speech, snr_db=snr_db)


def excerpt(waveform: Waveform, *, start: int, num_samples: int) -> Waveform:
    """Cut a stretch out of a recording, starting over at its end as often as needed."""
    if len(waveform) == 0:
        return np.zeros(num_samples, dtype=np.float32)
    return np.take(waveform, np.arange(start, start + num_samples), mode="wrap")
