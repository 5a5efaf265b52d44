"""Rows on stdout: a table for a person, CSV or JSON lines for a program."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from urgentmos.report.row_file import Columns, Record, encode_header, encode_record

StdoutFormat = Literal["table", "csv", "jsonl"]

_PATH_WIDTH = 30


def write_rows(
    records: Iterable[Record],
    columns: Columns,
    *,
    stdout_format: StdoutFormat | None,
    numbers: Sequence[str],
    names: Sequence[str] = ("path",),
) -> Iterator[Record]:
    """Write rows to stdout and give each as it is written.

    Args:
        records: Rows.
        columns: Columns, with the type of their values.
        stdout_format: Format; a table on a terminal and CSV elsewhere when None.
        numbers: Columns of the table, those that fit the terminal.
        names: Text columns of the table, behind the numbers.
    """
    if stdout_format is None:
        stdout_format = "table" if sys.stdout.isatty() else "csv"
    if stdout_format == "table":
        yield from _write_table(records, numbers, names)
        return
    sys.stdout.buffer.write(encode_header(columns, stdout_format))
    for record in records:
        sys.stdout.buffer.write(encode_record(record, columns, stdout_format))
        sys.stdout.buffer.flush()
        yield record


def printable(text: str) -> str:
    """Escape what would break a line or cannot be printed."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _write_table(
    records: Iterable[Record], numbers: Sequence[str], names: Sequence[str]
) -> Iterator[Record]:
    shown = _that_fit(numbers)
    widths = [max(7, len(name)) for name in shown]
    header = [name.rjust(width) for name, width in zip(shown, widths, strict=True)]
    sys.stdout.write("  ".join([*header, *names]) + "\n")
    for record in records:
        cells = [
            _number(record[name]).rjust(width) for name, width in zip(shown, widths, strict=True)
        ]
        text = "  ".join(printable(str(record[name])) for name in names)
        error = f"  failed: {record['error']}" if record["status"] != "ok" else ""
        sys.stdout.write("  ".join([*cells, text]) + error + "\n")
        sys.stdout.flush()
        yield record


def _that_fit(numbers: Sequence[str]) -> list[str]:
    room = shutil.get_terminal_size().columns - _PATH_WIDTH
    shown: list[str] = []
    # Whatever the order of the model's metrics, MOS is the one to see first.
    for name in sorted(numbers, key=lambda name: name != "mos"):
        room -= max(7, len(name)) + 2
        if room < 0:
            break
        shown.append(name)
    return shown


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else ""
