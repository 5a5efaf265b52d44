"""Rows on stdout: a table for a person, CSV or JSON lines for a program."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Literal

import typer

from urgentmos.report.row_file import Columns, Key, Record, encode_header, encode_record

StdoutFormat = Literal["table", "csv", "jsonl"]

_PATH_WIDTH = 30


class StdoutRows(Generic[Key]):
    """Writes one row per input to stdout, as ``RowOutput`` does to a file; none was there before.

    Args:
        columns: Columns, with the type of their values.
        inputs: What the rows will be about, in order.
        stdout_format: Format; a table on a terminal and CSV elsewhere when None.
        numbers: Columns of the table, in groups that are shown or left out together. On a terminal,
            the first group and those behind it that fit; elsewhere all.
        names: Text columns of the table, behind the numbers.

    Attributes:
        missing: Inputs without a row: all of them.
        num_kept: Rows taken over from an earlier run: none.
        scored: What the rows taken over are about: nothing.
    """

    def __init__(
        self,
        *,
        columns: Columns,
        inputs: Sequence[Key],
        stdout_format: StdoutFormat | None,
        numbers: Sequence[Sequence[str]],
        names: Sequence[str],
    ) -> None:
        self.missing: list[Key] = list(inputs)
        self.num_kept = 0
        self.scored: frozenset[Key] = frozenset()
        self._columns = columns
        self._format = stdout_format or ("table" if sys.stdout.isatty() else "csv")
        self._numbers = numbers
        self._names = names

    def merge(self, records: Iterator[Record]) -> Iterator[Record]:
        """Write every row, and give each as it is written.

        Args:
            records: Rows of ``missing``, in that order.
        """
        if self._format == "table":
            shown = _that_fit(self._numbers) if sys.stdout.isatty() else self._numbers
            _tell_not_shown(self._numbers[len(shown) :])
            yield from _write_table(records, _flat(shown), self._names)
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
    widths = [_width(name) for name in numbers]
    header = [name.rjust(width) for name, width in zip(numbers, widths, strict=True)]
    sys.stdout.write("  ".join([*header, *names]) + "\n")
    for record in records:
        cells = [
            _number(record[name]).rjust(width) for name, width in zip(numbers, widths, strict=True)
        ]
        text = "  ".join(printable(str(record[name])) for name in names)
        error = f"  failed: {record['error']}" if record["status"] != "ok" else ""
        sys.stdout.write("  ".join([*cells, text]) + error + "\n")
        sys.stdout.flush()
        yield record


def _that_fit(groups: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    room = shutil.get_terminal_size().columns - _PATH_WIDTH
    for place, group in enumerate(groups):
        room -= sum(_width(name) + 2 for name in group)
        if room < 0 and place > 0:
            return groups[:place]
    return groups


def _tell_not_shown(groups: Sequence[Sequence[str]]) -> None:
    if groups:
        names = ", ".join(_flat(groups))
        typer.echo(
            f"not shown: {names}; the terminal is too narrow, --format csv has all", err=True
        )


def _flat(groups: Sequence[Sequence[str]]) -> list[str]:
    return [name for group in groups for name in group]


def _width(name: str) -> int:
    return max(7, len(name))


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else ""
