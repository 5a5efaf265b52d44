"""One array per recording, made once and kept on disk: decoded audio, hidden states of encoders.

A store is two files. ``NAME`` holds the arrays end to end, in the order they were made. The first
line of ``NAME.index`` states their dtype and the shape of a row; each line after it is the key of a
recording, the first row of its array and its number of rows. What is missing is appended, so that
every run over a recording finds the same array, whatever else it hears, and a run that was killed
while making arrays goes on after the last few. Arrays of files that have changed since stay, and
nobody reads them; delete both files to begin anew.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from urgentmos.data.manifest import ManifestError, Recording
from urgentmos.file_lock import lock_file
from urgentmos.ndarray import NDArray
from urgentmos.whole_lines import cut_broken_line, read_whole_lines

# Arrays by the position of their recording, a few at a time.
Made = Iterator[Iterable[tuple[int, NDArray[np.generic]]]]
_BLOCK_BYTES = 1 << 20
# First row of an array and its number of rows.
Place = tuple[int, int]


@dataclass(frozen=True)
class StoredArrays:
    """The arrays of some recordings; pickled, as for a worker process, as what is to be mapped.

    Attributes:
        rows: All rows of the store, those of other recordings among them.
        begins: First row of each recording.
        counts: Rows of each recording.
    """

    rows: NDArray[np.generic]
    begins: NDArray[np.int64]
    counts: NDArray[np.int64]

    def select(self, positions: NDArray[np.int64]) -> "StoredArrays":
        """Give those of a part of the recordings, renumbered from 0."""
        return replace(self, begins=self.begins[positions], counts=self.counts[positions])

    def __reduce__(self) -> tuple[object, ...]:
        rows: object = self.rows
        if isinstance(self.rows, np.memmap):
            rows = _Mapped(str(self.rows.filename), self.rows.dtype.str, self.rows.shape)
        return _stored, (rows, self.begins, self.counts)


class _Mapped(NamedTuple):
    path: str
    dtype: str
    shape: tuple[int, ...]


def _stored(
    rows: NDArray[np.generic] | _Mapped, begins: NDArray[np.int64], counts: NDArray[np.int64]
) -> StoredArrays:
    if isinstance(rows, _Mapped):
        rows = np.memmap(rows.path, dtype=rows.dtype, mode="r", shape=rows.shape)
    return StoredArrays(rows, begins, counts)


def recording_keys(recordings: Sequence[Recording]) -> list[str]:
    """Give a key of each recording's audio: a hash of its file.

    All of it: processed copies of an utterance often have its name, its size and one time of all,
    and may differ in a few samples.

    Raises:
        ManifestError: A file is not there, or cannot be read.
    """
    paths = list(dict.fromkeys(recording.audio_path for recording in recordings))
    with ThreadPoolExecutor() as pool:
        key_by_path = dict(zip(paths, pool.map(_key, paths), strict=True))
    return [key_by_path[recording.audio_path] for recording in recordings]


def _key(path: Path) -> str:
    try:
        state = path.stat()
        return _hash_file(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error


@cache
def _hash_file(path: Path, size: int, changed_ns: int) -> str:
    """Hash a file in this state, once for the cache and for every store of hidden states."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()[:24]


def open_arrays(
    path: Path,
    keys: Sequence[str],
    make: Callable[[NDArray[np.int64]], Made],
    *,
    dtype: DTypeLike,
    row_shape: tuple[int, ...] = (),
) -> StoredArrays:
    """Read the arrays of recordings, making those first that are not there.

    Args:
        path: Store; it is made where there is none.
        keys: Key of each recording.
        make: Turns positions among the keys into their arrays, at least a row each.
        dtype: Type of the values.
        row_shape: Shape of an array without its first axis.

    Raises:
        ManifestError: The store holds other rows, lacks some, or the file is no store.
        FileLockedError: Another run is adding to it.
    """
    index = path.with_name(f"{path.name}.index")
    if path.exists() and not index.exists():
        raise ManifestError(f"{path} is there and is no store, for it has no index; name another")
    row = np.dtype((dtype, row_shape))
    places = _read_index(index, row)
    if any(key not in places for key in keys):
        path.parent.mkdir(parents=True, exist_ok=True)
        with index.open("a", encoding="ascii") as lines:
            lock_file(lines.fileno(), index)
            places = _add(path, index, lines, row, keys=keys, make=make)
    else:
        _check_size(path, _end(places) * row.itemsize)
    at = np.array([places[key] for key in keys], dtype=np.int64).reshape(-1, 2)
    # Not what another run is writing beyond the last whole array, or a kill has left there.
    rows = _Mapped(str(path), row.base.str, (_end(places), *row.shape))
    return _stored(rows, at[:, 0], at[:, 1])


def _add(
    path: Path,
    index: Path,
    lines: IO[str],
    row: np.dtype[Any],
    *,
    keys: Sequence[str],
    make: Callable[[NDArray[np.int64]], Made],
) -> dict[str, Place]:
    """Make what is missing, and give the places of all."""
    # As the last run left it, which may have ended since.
    places = _read_index(index, row)
    cut_broken_line(index)
    if index.stat().st_size == 0:
        lines.write(f"{_header(row)}\n")
    # A file that stands for several recordings is read once.
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    missing = np.array([i for key, i in first.items() if key not in places], dtype=np.int64)
    missing.sort()
    end = _end(places)
    _check_size(path, end * row.itemsize)
    with _naming(path), path.open("ab") as data:
        # What a kill left beyond the last whole array.
        os.truncate(path, end * row.itemsize)
        for arrays in make(missing):
            added = []
            for position, array in arrays:
                data.write(np.ascontiguousarray(array, dtype=row.base).tobytes())
                places[keys[position]] = (end, len(array))
                added.append(f"{keys[position]} {end} {len(array)}\n")
                end += len(array)
            # The index speaks of what is on disk, after a power failure too.
            data.flush()
            os.fsync(data.fileno())
            with _naming(index):
                lines.write("".join(added))
                lines.flush()
    return places


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say of a write that failed, as on a full disk, which file it was."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _check_size(path: Path, expected: int) -> None:
    size = path.stat().st_size if path.exists() else 0
    if size < expected:
        raise ManifestError(
            f"{path} has {size} of the {expected} bytes that its index tells of; delete both, and "
            "they are made again"
        )


def _header(row: np.dtype[Any]) -> str:
    return " ".join([row.base.str, *map(str, row.shape)])


def _read_index(index: Path, row: np.dtype[Any]) -> dict[str, Place]:
    """Give the places by key; a last line that was cut off is left out."""
    whole = read_whole_lines(index)
    if whole and whole[0] != _header(row):
        raise ManifestError(
            f"{index}: rows of {whole[0]!r} are kept there, not of {_header(row)!r}; name another"
        )
    return dict(_read_place(line, f"{index}:{n}") for n, line in enumerate(whole[1:], start=2))


def _read_place(line: str, where: str) -> tuple[str, Place]:
    try:
        key, begin, count = line.split()
        return key, (int(begin), int(count))
    except ValueError as error:
        raise ManifestError(
            f"{where}: {line[:50]!r} is no place of a recording; delete it and its store, and both "
            "are made again"
        ) from error


def _end(places: Mapping[str, Place]) -> int:
    return max((begin + count for begin, count in places.values()), default=0)
