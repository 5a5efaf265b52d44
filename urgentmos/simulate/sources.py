"""Noises, impulse responses and other talkers that distortions draw on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from urgentmos.audio import AudioError, read_audio
from urgentmos.ndarray import NDArray


class MissingMaterialError(ValueError):
    """A distortion needs recordings that were not given."""


@dataclass(frozen=True)
class Talker:
    """A recording of speech and who speaks."""

    path: Path
    speaker: str


@dataclass(frozen=True)
class Sources:
    """Recordings that distortions draw on, by name; each is decoded when it is used.

    Attributes:
        noises: Name → file of recorded noise.
        responses: Name → file of a measured impulse response.
        speech: Name → speech that may serve as an interfering talker.
        excluded_speaker: Never drawn as an interfering talker.
    """

    noises: Mapping[str, Path] = field(default_factory=dict)
    responses: Mapping[str, Path] = field(default_factory=dict)
    speech: Mapping[str, Talker] = field(default_factory=dict)
    excluded_speaker: str | None = None

    def without_speaker(self, speaker: str | None) -> "Sources":
        """Return the same sources, with a talker that is never drawn as interference."""
        return replace(self, excluded_speaker=speaker)

    def draw_noise(self, rng: np.random.Generator) -> str:
        """Draw the name of a recorded noise."""
        return _draw(list(self.noises), rng, what="recorded noise")

    def draw_response(self, rng: np.random.Generator) -> str:
        """Draw the name of a measured impulse response."""
        return _draw(list(self.responses), rng, what="measured impulse response")

    def draw_talkers(self, rng: np.random.Generator, *, count: int) -> list[str]:
        """Draw recordings of other speakers; a recording can come more than once."""
        names = [
            name for name, talker in self.speech.items() if talker.speaker != self.excluded_speaker
        ]
        return [_draw(names, rng, what="speech of another speaker") for _ in range(count)]

    def noise(self, name: str) -> Float[NDArray[Any], " samples"]:
        """Return a noise at 16 kHz."""
        return _read_again(self.noises[name])

    def response(self, name: str) -> Float[NDArray[Any], " samples"]:
        """Return an impulse response at 16 kHz."""
        return _read_again(self.responses[name])

    def talker(self, name: str) -> Float[NDArray[Any], " samples"]:
        """Return a recording of speech at 16 kHz."""
        return _read_again(self.speech[name].path)


def read_mono(path: Path) -> Float[NDArray[Any], " samples"]:
    """Read an audio file as the mean of its channels at 16 kHz.

    Raises:
        AudioError: It cannot be used; the message names it.
    """
    try:
        # A response of a telephone or a click may be shorter than what has a score.
        return read_audio(path, min_duration_s=0.0).waveform
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error


# The versions of one utterance, which follow each other, draw on the same files. All that a
# simulation draws on may not fit into memory.
_read_again = lru_cache(maxsize=32)(read_mono)


def _draw(names: list[str], rng: np.random.Generator, *, what: str) -> str:
    if not names:
        raise MissingMaterialError(
            f"no {what} was given; add some to the sources or give this kind no weight"
        )
    return names[int(rng.integers(len(names)))]
