"""Files to time predictors on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile


@dataclass(frozen=True)
class ClipSet:
    """Clips of one length and rate.

    Attributes:
        length_s: Seconds of each.
        sample_rate: Hz.
        paths: The files.
    """

    length_s: float
    sample_rate: int
    paths: Sequence[Path]

    @property
    def title(self) -> str:
        """Length and rate, for tables."""
        return f"{self.length_s:g} s, {self.sample_rate / 1000:g} kHz"

    @property
    def seconds(self) -> float:
        """Audio in all."""
        return self.length_s * len(self.paths)


def make_clips(folder: Path, *, length_s: float, sample_rate: int, total_s: float) -> ClipSet:
    """Write clips of one length and rate that last ``total_s`` together, at least one."""
    rng = np.random.default_rng(0)
    paths = []
    for index in range(max(1, round(total_s / length_s))):
        path = folder / f"{length_s:g}s_{sample_rate}_{index:03d}.flac"
        soundfile.write(path, babble(length_s, sample_rate, rng), sample_rate, subtype="PCM_16")
        paths.append(path)
    return ClipSet(length_s, sample_rate, paths)


def babble(length_s: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Make sound with the level, the pauses and the bandwidth of speech."""
    samples = round(length_s * sample_rate)
    times = np.arange(samples) / sample_rate
    syllables = np.clip(np.sin(2 * np.pi * 3 * times + rng.uniform(0, 6)), 0, 1)
    voice = sum(np.sin(2 * np.pi * 120 * n * times) / n for n in range(1, 20))
    return 0.1 * syllables * voice + 0.005 * rng.standard_normal(samples)
