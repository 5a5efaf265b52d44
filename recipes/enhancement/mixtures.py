"""Noisy speech, mixed from speech and noise that is kept apart for training, monitor and test."""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from urgentmos.audio import SAMPLE_RATE, read_audio
from urgentmos.ndarray import NDArray
from urgentmos.simulate.levels import add_noise, at_speech_level, excerpt, speech_level_db

Waveform = Float[NDArray[np.float32], " _"]

MONITOR_SHARE = 0.1
"""Share of the training speakers and noises that the monitor listens to instead."""

SNR_DB = (-5.0, 15.0)
TEST_SNR_DB = (0.0, 12.0)
LEVEL_DBFS = (-34.0, -20.0)

# DNSMOS doubles what is shorter than 9.01 s: at 4.6 to 5.4 s that is one window instead of nine.
TEST_SECONDS = (4.6, 5.0)

_AUDIBLE_DBFS = -55.0
_TRIES = 100


@dataclass
class Material:
    """The recordings of one part.

    Attributes:
        speech: Utterances by speaker.
        noise: Noises.
    """

    speech: dict[str, list[Waveform]] = field(default_factory=lambda: defaultdict(list))
    noise: list[Waveform] = field(default_factory=list)


def make_parser(description: str) -> argparse.ArgumentParser:
    """Make a script's parser, with the options that all scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("sources", type=Path, help="list of recordings, see mixtures.load_parts")
    parser.add_argument("--audio", type=Path, required=True, help="folder its paths are in")
    parser.add_argument("--work", type=Path, required=True, help="folder that train.py fills")
    best = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=best, help="a GPU if there is one, unless given")
    return parser


def load_parts(
    sources: Path, audio: Path, *, wanted: Sequence[str] = ("train", "monitor", "test")
) -> dict[str, Material]:
    """Read the recordings of ``train``, ``monitor`` and ``test``, which share no speaker or noise.

    Args:
        sources: JSON lines with ``path kind speaker split`` as ``recipes/default/prepare.py``
            writes them; ``validation`` is the test part here.
        audio: Folder that the paths are relative to.
        wanted: Parts to read.
    """
    rows = [json.loads(line) for line in sources.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["kind"] in {"clean", "noise"}]
    monitored = _every_tenth({(row["kind"], row["speaker"]) for row in rows if _trains(row)})
    parts = {name: Material() for name in wanted}
    for row in rows:
        if not _trains(row):
            part = "test"
        else:
            part = "monitor" if (row["kind"], row["speaker"]) in monitored else "train"
        if part not in parts:
            continue
        waveform = read_audio(audio / row["path"]).waveform
        if row["kind"] == "clean":
            parts[part].speech[row["speaker"]].append(waveform)
        else:
            parts[part].noise.append(waveform)
    for name, material in parts.items():
        if not material.speech or not material.noise:
            raise SystemExit(f"{sources}: no speech or no noise for the {name} part")
    return parts


def _trains(row: dict[str, str]) -> bool:
    return row["split"] == "train"


def _every_tenth(groups: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {
        group
        for kind in ("clean", "noise")
        for group in sorted(g for g in groups if g[0] == kind)[:: round(1 / MONITOR_SHARE)]
    }


class Mixer:
    """Draws batches of noisy speech without end; the seed decides all of them."""

    def __init__(self, material: Material, *, seconds: float, seed: Sequence[int]) -> None:
        """Set the length of the mixtures, and the seed."""
        self._speech = [waveform for spoken in material.speech.values() for waveform in spoken]
        self._noise = material.noise
        self._num_samples = round(seconds * SAMPLE_RATE)
        self._rng = np.random.default_rng(seed)

    def batch(
        self, size: int
    ) -> tuple[Float[Tensor, "batch samples"], Float[Tensor, "batch samples"]]:
        """Draw noisy speech and the clean speech in it."""
        pairs = [
            mix(
                _audible(self._speech, self._num_samples, self._rng),
                _audible(self._noise, self._num_samples, self._rng),
                snr_db=self._rng.uniform(*SNR_DB),
                level_dbfs=self._rng.uniform(*LEVEL_DBFS),
            )
            for _ in range(size)
        ]
        noisy, clean = (
            torch.from_numpy(np.stack(waveforms)) for waveforms in zip(*pairs, strict=True)
        )
        return noisy, clean


def fixed_mixtures(material: Material, *, count: int) -> list[tuple[Waveform, Waveform]]:
    """Mix ``count`` recordings of about 5 s, the speakers and the noises in turn.

    Returns:
        Noisy and clean waveforms; utterances under 4.6 s are left out.
    """
    rng = np.random.default_rng(0)
    shortest, longest = (round(seconds * SAMPLE_RATE) for seconds in TEST_SECONDS)
    long_enough = {
        speaker: [waveform for waveform in spoken if len(waveform) >= shortest]
        for speaker, spoken in sorted(material.speech.items())
    }
    spoken_by = [spoken for spoken in long_enough.values() if spoken]
    if not spoken_by:
        raise SystemExit(f"expected utterances of at least {TEST_SECONDS[0]} s, found none")
    mixtures = []
    for index in range(count):
        spoken = spoken_by[index % len(spoken_by)]
        speech = spoken[index // len(spoken_by) % len(spoken)][:longest]
        noise = _audible([material.noise[index % len(material.noise)]], len(speech), rng)
        mixtures.append(
            mix(
                speech,
                noise,
                snr_db=rng.uniform(*TEST_SNR_DB),
                level_dbfs=rng.uniform(*LEVEL_DBFS),
            )
        )
    return mixtures


def mix(
    speech: Waveform, noise: Waveform, *, snr_db: float, level_dbfs: float
) -> tuple[Waveform, Waveform]:
    """Return noisy and clean waveforms, the speech in both at one level."""
    clean = at_speech_level(speech, level_dbfs)
    noisy = add_noise(clean, noise, snr_db=snr_db)
    gain = np.float32(min(1.0, 0.99 / np.abs(noisy).max()))
    return gain * noisy, gain * clean


def _audible(waveforms: Sequence[Waveform], num_samples: int, rng: np.random.Generator) -> Waveform:
    for _ in range(_TRIES):
        waveform = waveforms[rng.integers(len(waveforms))]
        start = int(rng.integers(max(1, len(waveform) - num_samples + 1)))
        drawn = excerpt(waveform, start=start, num_samples=num_samples)
        if speech_level_db(drawn) > _AUDIBLE_DBFS:
            return drawn
    raise SystemExit(f"expected sound above {_AUDIBLE_DBFS} dBFS, drew silence {_TRIES} times")
