"""Rows of an earlier run, put aside in one file while the output is written anew."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic

from urgentmos.report.row_file import Columns, Key, OutputError, Record, Value, encode_record
from urgentmos.report.whole_report import whole_report


class KeptRows(Generic[Key]):
    """Rows on disk, found by key; only keys and positions are held in memory.

    Args:
        path: JSON lines file made by ``put_aside``; need not exist.
        key: Gives the key of a row.
    """

    def __init__(self, path: Path, key: Callable[[Record], Key]) -> None:
        self.path = path
        self._positions: dict[Key, int] = {}
        self._file = path.open("rb") if path.exists() else None
        while self._file is not None:
            position = self._file.tell()
            line = self._file.readline()
            if not line:
                break
            self._positions[key(json.loads(line))] = position

    def __contains__(self, key: Key) -> bool:
        return key in self._positions

    def __iter__(self) -> Iterator[Key]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def read(self, key: Key) -> dict[str, Value]:
        """Read the row of a key.

        Raises:
            KeyError: There is none.
        """
        position = self._positions[key]
        if self._file is None:
            raise KeyError(key)
        self._file.seek(position)
        record: dict[str, Value] = json.loads(self._file.readline())
        return record

    def close(self) -> None:
        """Close the file; it stays where it is."""
        if self._file is not None:
            self._file.close()


def put_aside(
    records: Iterable[Record],
    target: Path,
    *,
    columns: Columns,
    key: Callable[[Record], Key],
    wanted: frozenset[Key],
    model: str,
) -> None:
    """Write the rows worth keeping to one file, which appears complete or not at all.

    Kept are rows that succeeded, and failed ones that this run will not try again; each key once.

    Args:
        records: Rows of earlier runs.
        target: File to write.
        columns: Columns of the rows.
        key: Gives the key of a row.
        wanted: Keys that this run asks for.
        model: What the ``model`` column must say.

    Raises:
        OutputError: A row was made by another model or version.
    """
    with whole_report(target) as unfinished, unfinished.open("wb") as file:
        for record in _worth_keeping(records, key, wanted, model):
            file.write(encode_record(record, columns, "jsonl"))
        # On the disk before the output, which holds the same rows, is written anew.
        file.flush()
        os.fsync(file.fileno())


def _worth_keeping(
    records: Iterable[Record],
    key: Callable[[Record], Key],
    wanted: frozenset[Key],
    model: str,
) -> Iterator[Record]:
    kept: set[Key] = set()
    for record in records:
        about = key(record)
        if record["model"] != model:
            raise OutputError(
                f"cannot resume: the row of {about!r} comes from model+version {record['model']}, "
                f"this run uses {model}; start again with --overwrite, or write to another file"
            )
        if about in kept or (record["status"] != "ok" and about in wanted):
            continue
        kept.add(about)
        yield record
