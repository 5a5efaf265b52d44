"""The clean references of recordings, of the part that is heard."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from urgentmos.audio import SAMPLE_RATE
from urgentmos.data.recording import Recording
from urgentmos.data.waveforms import Waveforms
from urgentmos.ndarray import NDArray

MAX_DIFFERENCE_S = 0.1
"""By how much a recording may be longer or shorter than its reference: codecs fill up their last
frame (of 80 ms at most), vocoders leave out one or two (97 ms of a HiFi-GAN were seen). With more,
it is another recording, or begins elsewhere."""

_NONE = -1


class References:
    """Read the reference of each recording, from its first to its last sample that is heard.

    A reference that is shorter or longer than its recording by more than ``MAX_DIFFERENCE_S`` is
    not aligned with it, and stands for none.

    Args:
        waveforms: The references.
        places: Position of each recording's reference among them; -1 where it has none.
        lengths: Samples of each recording.
    """

    def __init__(
        self, waveforms: Waveforms, places: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> None:
        self._waveforms = waveforms
        self._places = places
        self._lengths = lengths

    def read(
        self,
        recordings: NDArray[np.int64],
        *,
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Read a part of each of some recordings' references.

        Args:
            recordings: Which recordings.
            starts: First sample of each part.
            lengths: Samples of each part.

        Returns:
            One row each, zero beyond its length, and all zero where there is no reference.

        Raises:
            ManifestError: A reference cannot be decoded.
        """
        padded = np.zeros((len(recordings), lengths.max()), dtype=np.float32)
        rows = zip(padded, recordings.tolist(), starts.tolist(), lengths.tolist(), strict=True)
        for row, recording, start, length in rows:
            if self._places[recording] == _NONE:
                continue
            reference = self._waveforms.read(int(self._places[recording]))
            difference = abs(len(reference) - self._lengths[recording])
            if difference <= MAX_DIFFERENCE_S * SAMPLE_RATE:
                part = reference[start : start + length]
                row[: len(part)] = part
        return padded


def list_references(
    recordings: Sequence[Recording],
) -> tuple[list[Recording], NDArray[np.int64]]:
    """List the references that recordings state, each once, and where each recording's is.

    Returns:
        The references, as recordings, and each recording's place among them; -1 where
        ``meta.reference_path`` names none.
    """
    place_by_path: dict[str, int] = {}
    references: list[Recording] = []
    places = np.full(len(recordings), _NONE, dtype=np.int64)
    for position, recording in enumerate(recordings):
        path = recording.meta.get("reference_path")
        if path is None:
            continue
        if path not in place_by_path:
            place_by_path[path] = len(references)
            references.append(replace(recording, audio_path=Path(path), metrics={}, meta={}))
        places[position] = place_by_path[path]
    return references, places
