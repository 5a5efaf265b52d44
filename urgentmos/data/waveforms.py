"""Waveforms of a manifest: decoded as they are asked for, or once into one file.

A cache is a store (`urgentmos.data.array_store`) of mono waveforms at 16 kHz in 16-bit integers. It
grows by the recordings of each run.

Digital silence at the edges stays in, though scoring leaves it out: batches are planned by the
lengths that manifests and caches state, and stored hidden states are cut by time. The RMS level is
then taken over the silence too, so training hears the rest of such a recording louder than scoring
does: by 3 dB where half of it is silence.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE, AudioError, read_audio
from urgentmos.data.array_store import Made, StoredArrays, open_arrays, recording_keys
from urgentmos.data.manifest import ManifestError, Recording
from urgentmos.ndarray import NDArray
from urgentmos.terminal_size import bar_size

_FULL_SCALE = 32767


@runtime_checkable
class Waveforms(Protocol):
    """Where recordings come from.

    Attributes:
        lengths: Samples of each recording.
    """

    lengths: NDArray[np.int64]

    def read(self, position: int) -> NDArray[np.float32]:
        """Return the whole waveform of one recording."""
        ...

    def read_into(self, row: NDArray[np.float32], position: int, *, start: int) -> None:
        """Fill a row with a recording's samples from ``start`` on."""
        ...


class DecodedWaveforms:
    """Decode each recording every time it is asked for."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._paths = [recording.audio_path for recording in recordings]
        durations = np.array([recording.duration for recording in recordings])
        self.lengths = np.maximum(np.rint(durations * SAMPLE_RATE), 1).astype(np.int64)

    def read(self, position: int) -> NDArray[np.float32]:
        """Decode one recording.

        Raises:
            ManifestError: It cannot be decoded.
        """
        return _decode(self._paths[position])

    def read_into(self, row: NDArray[np.float32], position: int, *, start: int) -> None:
        """Decode one recording and copy a part.

        Raises:
            ManifestError: It cannot be decoded, or is not as long as the manifest says.
        """
        waveform = self.read(position)
        missing = start + len(row) - len(waveform)
        longer = len(waveform) - int(self.lengths[position])
        # Durations in a manifest are rounded: a hundredth of a second may be missing, not more. Of
        # what is longer than stated the end would never be heard; codecs add a little.
        if missing > SAMPLE_RATE // 100 or longer > max(SAMPLE_RATE // 10, len(waveform) // 50):
            raise ManifestError(
                f"{self._paths[position]}: the manifest says "
                f"{self.lengths[position] / SAMPLE_RATE:.2f} s, the file has "
                f"{len(waveform) / SAMPLE_RATE:.2f} s"
            )
        start = max(0, start - max(0, missing))
        part = waveform[start : start + len(row)]
        row[: len(part)] = part


class CachedWaveforms:
    """Read recordings from a cache file that the operating system keeps in memory."""

    def __init__(self, samples: StoredArrays) -> None:
        self.lengths = samples.counts
        self._samples = samples

    def read(self, position: int) -> NDArray[np.float32]:
        """Return one recording."""
        row = np.empty(self.lengths[position], dtype=np.float32)
        self.read_into(row, position, start=0)
        return row

    def read_into(self, row: NDArray[np.float32], position: int, *, start: int) -> None:
        """Copy a part of one recording."""
        begin = self._samples.begins[position] + start
        part = self._samples.rows[begin : begin + len(row)]
        np.multiply(part, np.float32(1 / _FULL_SCALE), out=row)


class SelectedWaveforms:
    """A part of the recordings, renumbered from 0."""

    def __init__(self, waveforms: Waveforms, positions: NDArray[np.int64]) -> None:
        self._waveforms = waveforms
        self._positions = positions
        self.lengths = waveforms.lengths[positions]

    def read(self, position: int) -> NDArray[np.float32]:
        """Return one recording."""
        return self._waveforms.read(int(self._positions[position]))

    def read_into(self, row: NDArray[np.float32], position: int, *, start: int) -> None:
        """Copy a part of one recording."""
        self._waveforms.read_into(row, int(self._positions[position]), start=start)


def read_padded(
    waveforms: Waveforms,
    positions: NDArray[np.int64],
    *,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Read a part of each of some recordings: one row each, zero beyond its length.

    Args:
        waveforms: Where they come from.
        positions: Which recordings.
        starts: First sample of each part.
        lengths: Samples of each part.
    """
    padded = np.zeros((len(positions), lengths.max()), dtype=np.float32)
    parts = zip(padded, positions.tolist(), starts.tolist(), lengths.tolist(), strict=True)
    for row, position, start, length in parts:
        waveforms.read_into(row[:length], position, start=start)
    return padded


def read_whole(
    waveforms: Waveforms, positions: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read some recordings, a row each, zero beyond its end; give them and their lengths."""
    lengths = waveforms.lengths[positions]
    starts = np.zeros_like(lengths)
    return read_padded(waveforms, positions, starts=starts, lengths=lengths), lengths


def open_cache(path: str | Path, recordings: Sequence[Recording]) -> CachedWaveforms:
    """Open a cache, decoding what it lacks of these recordings first.

    Raises:
        ManifestError: A recording cannot be decoded.
        FileLockedError: Another run is adding to the cache.
    """
    paths = [recording.audio_path for recording in recordings]

    def decode(missing: NDArray[np.int64]) -> Made:
        positions = iter(missing.tolist())
        bar = tqdm(total=len(missing), desc="caching audio", unit="file", **bar_size())
        # A few at a time: a plain map would decode the whole corpus ahead of the writer.
        with ThreadPoolExecutor() as pool, bar:
            while block := list(islice(positions, 256)):
                decoded = pool.map(_decode, [paths[position] for position in block])
                yield zip(block, map(_to_16_bits, decoded), strict=True)
                bar.update(len(block))

    return CachedWaveforms(open_arrays(Path(path), recording_keys(recordings), decode, dtype="<i2"))


def _to_16_bits(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.rint(np.clip(waveform, -1, 1) * _FULL_SCALE)


def _decode(path: Path) -> NDArray[np.float32]:
    try:
        return read_audio(path, sample_rate=SAMPLE_RATE).waveform
    except AudioError as error:
        raise ManifestError(f"{path}: cannot be used for training: {error}") from error
