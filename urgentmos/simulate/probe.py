"""The signal that delays of codecs are measured on."""

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from urgentmos.ndarray import NDArray
from urgentmos.simulate.distortion import SAMPLE_RATE, Waveform

PROBE_BURSTS = 12
GOLDEN = (np.sqrt(5) - 1) / 2


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
