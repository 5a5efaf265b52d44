"""Rows of an earlier run, put aside in one file while the output is written anew."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from urgentmos.report.row_file import Columns, OutputError, Record, Value, encode_record


class KeptRows:
    """Rows on disk, found by path; only paths and positions are held in memory.

    Args:
        path: JSON lines file made by ``put_aside``; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._positions: dict[str, int] = {}
        self._file = path.open("rb") if path.exists() else None
        while self._file is not None:
            position = self._file.tell()
            line = self._file.readline()
            if not line:
                break
            self._positions[json.loads(line)["path"]] = position

    def __contains__(self, path: str) -> bool:
        return path in self._positions

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def read(self, path: str) -> dict[str, Value]:
        """Read the row of a recording.

        Raises:
            KeyError: There is none.
        """
        position = self._positions[path]
        if self._file is None:
            raise KeyError(path)
        self._file.seek(position)
        record: dict[str, Value] = json.loads(self._file.readline())
        return record

    def close(self) -> None:
        """Close the file; it stays where it is."""
        if self._file is not None:
            self._file.close()


def put_aside(
    records: Iterable[Record], target: Path, *, columns: Columns, wanted: frozenset[str], model: str
) -> None:
    """Write the rows worth keeping to one file, which appears complete or not at all.

    Kept are scored rows, and failed ones of recordings that this run will not try again; each
    recording once.

    Args:
        records: Rows of earlier runs.
        target: File to write.
        columns: Columns of the rows.
        wanted: Paths that this run asks for.
        model: What the ``model`` column must say.

    Raises:
        OutputError: A row was made by another model or version.
    """
    unfinished = target.with_name(target.name + ".tmp")
    try:
        with unfinished.open("wb") as file:
            for record in _worth_keeping(records, wanted, model):
                file.write(encode_record(record, columns, "jsonl"))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _worth_keeping(
    records: Iterable[Record], wanted: frozenset[str], model: str
) -> Iterator[Record]:
    kept: set[str] = set()
    for record in records:
        if record["model"] != model:
            raise OutputError(
                f"cannot resume: {record['path']!r} was scored with model+version "
                f"{record['model']}, this run uses {model}; start again with --overwrite, or "
                "write to another file"
            )
        path = str(record["path"])
        if path in kept or (record["status"] != "ok" and path in wanted):
            continue
        kept.add(path)
        yield record
