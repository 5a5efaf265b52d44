"""Row files that are valid at every moment: CSV and JSON lines, written one row at a time."""

import codecs
import contextlib
import csv
import errno
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from urgentmos.file_lock import FileLockedError, lock_file
from urgentmos.name_bytes import CSV_ERRORS

Value = str | int | float | None
Record = Mapping[str, Value]
Columns = Mapping[str, type]
RowFormat = Literal["csv", "jsonl"]
Key = TypeVar("Key", str, tuple[str, str])
"""What a row is about: one name, or one in each of two columns."""

_NEEDS_QUOTES = re.compile(r'[",\r\n]')

NO_ROOM = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "no space left",
    errno.EFBIG: "a file may not become larger here",
}
"""Errors of the operating system that freeing disk space fixes, in words."""


class OutputError(ValueError):
    """Rows cannot be written where, or cannot be read from what, was asked for."""


@contextlib.contextmanager
def full_disk_in_words(path: Path) -> Iterator[None]:
    """Say which file found no room, and that no row is lost.

    Args:
        path: File that is written; what is begun of it must be taken back by who writes it.

    Raises:
        OSError: The disk is full; any other error passes unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        message = f"{NO_ROOM[error.errno]}; the rows written so far are whole; make room, run again"
        raise OSError(error.errno, message, str(path)) from error


def streamed_format(path: Path, *, others: Iterable[str] = ()) -> RowFormat:
    """Tell the format from the suffix.

    Args:
        path: File to write.
        others: Suffixes that the caller takes besides; for the message.

    Raises:
        OutputError: It is none that can be written row by row.
    """
    suffixes: dict[str, RowFormat] = {".csv": "csv", ".jsonl": "jsonl"}
    row_format = suffixes.get(path.suffix.lower())
    if row_format is None:
        known = ", ".join([*suffixes, *others])
        raise OutputError(f"cannot tell the format of {str(path)!r}: end it in one of {known}")
    return row_format


def check_place(path: Path) -> None:
    """Refuse a file that could not be written, before anything else is lost for it.

    Raises:
        OutputError: Its folder does not exist, it is a folder itself, or it may not be written.
    """
    if not path.parent.is_dir():
        raise OutputError(f"the folder of {str(path)!r} does not exist: make it first")
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder: name a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"{str(path)!r} may not be written")


def encode_header(columns: Columns, row_format: RowFormat) -> bytes:
    """Give what a row file starts with: the column names in CSV, nothing in JSON lines."""
    return _csv_line(list(columns)) if row_format == "csv" else b""


def encode_record(record: Record, columns: Columns, row_format: RowFormat) -> bytes:
    """Give one record as the bytes of its line (which in CSV may hold a quoted line break)."""
    if row_format == "csv":
        values = (record[column] for column in columns)
        return _csv_line(["" if value is None else str(value) for value in values])
    # ASCII, so that a name that is not valid Unicode still makes a valid file.
    return json.dumps({column: record[column] for column in columns}).encode("ascii") + b"\n"


def read_records(path: Path, columns: Columns, row_format: RowFormat) -> Iterator[dict[str, Value]]:
    """Read the records of a row file; a last line that was cut off is left out.

    CSV may have been saved by a spreadsheet: with a byte order mark and lines that end in CR LF.

    Args:
        path: File.
        columns: Columns it must have, with the type of their values.
        row_format: Its format.

    Raises:
        OutputError: The columns differ, or a line is damaged.
    """
    reader = _read_csv if row_format == "csv" else _read_jsonl
    return reader(path, columns)


class RowFile:
    """A row file being written, locked against other runs.

    A row is there completely or not at all: when the disk is full, what was begun is taken back.

    Args:
        path: File; created if missing, its contents kept until ``restart``.
        columns: Columns, with the type of their values.
        row_format: Format to write.
        must_be_new: Refuse a file that exists.

    Attributes:
        path: The file.
        num_rows: Rows written since it was opened or restarted.

    Raises:
        OutputError: It exists and must not.
        FileLockedError: Another run is writing it.
        OSError: It cannot be created.
    """

    def __init__(
        self, path: Path, columns: Columns, row_format: RowFormat, *, must_be_new: bool
    ) -> None:
        self.path = path
        self._columns = columns
        self._format: RowFormat = row_format
        self._descriptor = _open_for_writing(path, must_be_new=must_be_new)
        try:
            lock_file(self._descriptor, path)
        except FileLockedError:
            os.close(self._descriptor)
            raise
        self._size = os.fstat(self._descriptor).st_size
        self.num_rows = 0

    def restart(self) -> None:
        """Throw away what is there and write the header."""
        os.ftruncate(self._descriptor, 0)
        self._size = self.num_rows = 0
        with full_disk_in_words(self.path):
            self._append(encode_header(self._columns, self._format), num_rows=0)

    def write(self, record: Record) -> None:
        """Append a record.

        Raises:
            OSError: The disk is full or failing; the rows before this one are whole.
        """
        with full_disk_in_words(self.path):
            self._append(encode_record(record, self._columns, self._format), num_rows=1)

    def close(self) -> None:
        """Close the file and let other runs at it."""
        os.close(self._descriptor)

    def _append(self, line: bytes, *, num_rows: int) -> None:
        written = 0
        try:
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            # Side by side: an interrupt comes before or after both.
            self._size += written
            self.num_rows += num_rows
        except BaseException:
            os.ftruncate(self._descriptor, self._size)
            raise


def _open_for_writing(path: Path, *, must_be_new: bool) -> int:
    check_place(path)
    flags = os.O_RDWR | os.O_CREAT | (os.O_EXCL if must_be_new else 0)
    try:
        # O_BINARY: on Windows line feeds would become two bytes each.
        return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    except FileExistsError as error:
        raise OutputError(
            f"{str(path)!r} exists: replace it with --overwrite, or write to another file"
        ) from error


def _csv_line(values: list[str]) -> bytes:
    fields = (
        '"' + value.replace('"', '""') + '"' if _NEEDS_QUOTES.search(value) else value
        for value in values
    )
    return (",".join(fields) + "\n").encode("utf-8", CSV_ERRORS)


def _read_csv(path: Path, columns: Columns) -> Iterator[dict[str, Value]]:
    expected = encode_header(columns, "csv")
    with path.open("rb") as file:
        header = file.readline().removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    if header != expected:
        if expected.startswith(header):
            return  # The run ended before its first row.
        names = header.decode("utf-8", CSV_ERRORS).strip().split(",")
        raise OutputError(_differ(path, names, columns))
    is_whole = _ends_with_newline(path)
    with path.open(newline="", encoding="utf-8-sig", errors=CSV_ERRORS) as text:
        reader = csv.reader(text)
        next(reader)
        waiting: list[str] | None = None
        for row in reader:
            if waiting is not None:
                yield _typed(path, waiting, columns)
            waiting = row
        if waiting is not None and is_whole and len(waiting) == len(columns):
            yield _typed(path, waiting, columns)


def _read_jsonl(path: Path, columns: Columns) -> Iterator[dict[str, Value]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
            except ValueError as error:
                raise OutputError(f"{str(path)!r}, line {number}: not JSON: {error}") from error
            if not isinstance(record, dict) or list(record) != list(columns):
                found = list(record) if isinstance(record, dict) else [type(record).__name__]
                raise OutputError(_differ(path, found, columns))
            yield record


def _typed(path: Path, row: list[str], columns: Columns) -> dict[str, Value]:
    if len(row) != len(columns):
        raise OutputError(
            f"{str(path)!r}: a row has {len(row)} fields, expected {len(columns)}: {row[:1]}"
        )
    try:
        return {
            column: value if kind is str else (kind(value) if value else None)
            for (column, kind), value in zip(columns.items(), row, strict=True)
        }
    except ValueError as error:
        raise OutputError(f"{str(path)!r}, row of {row[0]!r}: {error}") from error


def _differ(path: Path, found: list[str], columns: Columns) -> str:
    missing = [name for name in columns if name not in found]
    extra = [name for name in found if name not in columns]
    detail = f"it lacks {missing}, it has {extra} besides" if missing or extra else "order differs"
    return (
        f"{str(path)!r} has other columns than this run ({detail}): resume with the same metrics, "
        "or start again with --overwrite"
    )


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, io.SEEK_END)
        file.seek(-1, io.SEEK_END)
        return file.read(1) == b"\n"
