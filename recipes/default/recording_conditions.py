"""What clean speech differs in besides who speaks: how it was recorded, stored and cleaned.

Log-spectral distance, and what else compares with a reference band by band, hangs on what the
reference has where the speech is not: the floor between words and above the highest band. Damage
is the larger against nothing than against some noise. A few hundred speakers come in a few dozen
such conditions, so more of them are made here.
"""

import io
from typing import Any

import numpy as np
import soundfile
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.signal import firwin, oaconvolve

from urgentmos.audio import SAMPLE_RATE
from urgentmos.ndarray import NDArray
from urgentmos.simulate.levels import SILENCE

FLOOR_DB = (-70.0, -30.0)  # of the speech
COLOURS = (0.0, 1.0)  # exponent of the falling power: white to pink
GATE_DB = (-50.0, -25.0)  # of the loudest frame
DEPTH_DB = (10.0, 60.0)
GATE_FRAME = 160
HOLD_FRAMES = 15
HIGHEST_HZ = (3400.0, 7800.0)
TAPS = 513
QUALITY = (0.1, 0.9)
FORMATS = (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"))


def in_other_conditions(speech: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Add a floor to, clean, limit in band and store a recording, each by chance."""
    chances = {with_floor: 0.4, cleaned: 0.25, band_limited: 0.3, stored: 0.25}
    for step, chance in chances.items():
        if rng.random() < chance:
            speech = step(speech, rng)
    return speech


def with_floor(speech: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Add faint steady noise, white to pink."""
    white = np.fft.rfft(rng.standard_normal(len(speech)))
    falling = np.maximum(np.arange(len(white)), 1.0) ** (-rng.uniform(*COLOURS) / 2)
    noise = np.fft.irfft(white * falling, len(speech))
    return speech + noise * _ratio(rng.uniform(*FLOOR_DB)) * _level(speech) / _level(noise)


def cleaned(speech: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Lower the pauses, as a noise gate does."""
    frames = -(-len(speech) // GATE_FRAME)
    padded = np.pad(speech, (0, frames * GATE_FRAME - len(speech)))
    power = np.square(padded.reshape(frames, GATE_FRAME)).mean(axis=1)
    heard = power > power.max() * _ratio(rng.uniform(*GATE_DB)) ** 2
    open_ = gaussian_filter1d(maximum_filter1d(heard.astype(float), HOLD_FRAMES), 2.0)
    gain = _ratio(-rng.uniform(*DEPTH_DB)) ** (1 - open_)
    places = (np.arange(frames) + 0.5) * GATE_FRAME
    return speech * np.interp(np.arange(len(speech)), places, gain)


def band_limited(speech: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Leave nothing above a frequency."""
    highest = float(np.exp(rng.uniform(*np.log(HIGHEST_HZ))))
    return np.asarray(oaconvolve(speech, firwin(TAPS, highest, fs=SAMPLE_RATE), mode="same"))


def stored(speech: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Store it as MP3 or Vorbis and read it again."""
    kind, subtype = FORMATS[rng.integers(len(FORMATS))]
    file = io.BytesIO()
    soundfile.write(
        file,
        speech / max(1.0, np.abs(speech).max()),
        SAMPLE_RATE,
        format=kind,
        subtype=subtype,
        compression_level=rng.uniform(*QUALITY),
    )
    file.seek(0)
    decoded, _ = soundfile.read(file)
    return np.pad(decoded, (0, max(0, len(speech) - len(decoded))))[: len(speech)]


def _ratio(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def _level(samples: NDArray[Any]) -> float:
    return max(float(np.sqrt(np.square(samples).mean())), SILENCE)
