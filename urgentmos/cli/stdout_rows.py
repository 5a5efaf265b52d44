"""Rows on stdout: a table for a person, CSV or JSON lines for a program."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Literal

from urgentmos.report.row_file import Columns, Key, Record, encode_header, encode_record

StdoutFormat = Literal["table", "csv", "jsonl"]

_PATH_WIDTH = 30


class StdoutRows(Generic[Key]):
    """Writes one row per input to stdout, as ``RowOutput`` does to a file; none was there before.

    Args:
        columns: Columns, with the type of their values.
        inputs: What the rows will be about, in order.
        stdout_format: Format; a table on a terminal and CSV elsewhere when None.
        numbers: Columns of the table, those that fit the terminal.
        names: Text columns of the table, behind the numbers.

    Attributes:
        missing: Inputs without a row: all of them.
        num_kept: Rows taken over from an earlier run: none.
    """

    def __init__(
        self,
        *,
        columns: Columns,
        inputs: Sequence[Key],
        stdout_format: StdoutFormat | None,
        numbers: Sequence[str],
        names: Sequence[str],
    ) -> None:
        self.missing: list[Key] = list(inputs)
        self.num_kept = 0
        self._columns = columns
        self._format = stdout_format or ("table" if sys.stdout.isatty() else "csv")
        self._numbers = numbers
        self._names = names

    def has_row(self, about: Key) -> bool:
        """Whether the row of an input was taken over from an earlier run: never."""
        return False

    def merge(self, records: Iterator[Record]) -> Iterator[Record]:
        """Write every row, and give each as it is written.

        Args:
            records: Rows of ``missing``, in that order.
        """
        if self._format == "table":
            yield from _write_table(records, self._numbers, self._names)
            return
        sys.stdout.buffer.write(encode_header(self._columns, self._format))
        for record in records:
            sys.stdout.buffer.write(encode_record(record, self._columns, self._format))
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
