"""Tables of results: the same rows as Markdown, CSV and JSON."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from urgentmos.evaluation.bootstrap import Difference, Interval, Resampling

Cell = str | int | float | None | Interval | Difference
"""One value; an interval becomes three columns in CSV, a difference four."""


@dataclass
class Table:
    """Rows with the same columns.

    Attributes:
        title: Heading, and the file name when written.
        note: What a reader must know to read the numbers right.
        percent: Columns shown in per cent.
        rows: One mapping per row; a column that a row lacks is empty there.
    """

    title: str
    note: str = ""
    percent: Sequence[str] = ()
    rows: list[Mapping[str, Cell]] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Columns in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def file_name(self) -> str:
        """Title as a file name, without suffix."""
        return file_name(self.title.lower())


def with_intervals(note: str, resampling: Resampling) -> str:
    """End the note of a table by what its brackets hold, where there are any."""
    return note + where_resampled(" 95 % bootstrap intervals in brackets.", resampling)


def where_resampled(words: str, resampling: Resampling) -> str:
    """Give words of a note that hold where there is a bootstrap, else none."""
    return words if resampling.num_resamples else ""


def file_name(name: str) -> str:
    """Replace what file names should not hold, as slashes, by single underscores."""
    kept = (letter if letter.isalnum() else "_" for letter in name)
    return "_".join(filter(None, "".join(kept).split("_")))


def to_markdown(table: Table) -> str:
    """Write a table as Markdown: heading, note, rows; undefined numbers as a dash."""
    columns = table.columns
    lines = [f"### {table.title}", ""]
    lines += [table.note, ""] if table.note else []
    lines.append(f"| {' | '.join(map(_escape, columns))} |")
    lines.append("|" + "---|" * len(columns))
    for row in table.rows:
        cells = [_format(row.get(name), percent=name in table.percent) for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def to_records(table: Table) -> list[dict[str, str | int | float | None]]:
    """Flatten a table to plain values: ``name``, and ``name_low``, ``name_high``, ``name_p``."""
    return [
        {name: value for column, cell in row.items() for name, value in _flatten(column, cell)}
        for row in table.rows
    ]


def write_tables(tables: Sequence[Table], folder: str | Path) -> list[Path]:
    """Write tables into a folder: ``results.md``, ``results.json``, one CSV each.

    CSVs that the ``results.json`` of an earlier run lists are removed first.

    Returns:
        The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    markdown, as_json = folder / "results.md", folder / "results.json"
    for path in _written_before(as_json):
        path.unlink()
    markdown.write_text("\n".join(to_markdown(table) for table in tables), encoding="utf-8")
    records = {table.title: to_records(table) for table in tables}
    as_json.write_text(
        json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    written = [markdown, as_json]
    for table in tables:
        path = folder / f"{table.file_name}.csv"
        _write_csv(path, records[table.title])
        written.append(path)
    return written


def _written_before(as_json: Path) -> list[Path]:
    """Name the CSVs of the run that wrote a ``results.json``: those that still hold its columns."""
    try:
        tables = json.loads(as_json.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    written = []
    for title, records in tables.items() if isinstance(tables, dict) else ():
        path = as_json.with_name(f"{Table(title).file_name}.csv")
        if not path.is_file() or not _are_records(records):
            continue
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            header = next(csv.reader(file), [])
        if header == _columns(records):
            written.append(path)
    return written


def _are_records(records: object) -> TypeGuard[list[dict[str, object]]]:
    return isinstance(records, list) and all(isinstance(record, dict) for record in records)


def _columns(records: Sequence[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def _write_csv(path: Path, records: Sequence[Mapping[str, object]]) -> None:
    columns = _columns(records)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def _flatten(column: str, cell: Cell) -> list[tuple[str, str | int | float | None]]:
    if not isinstance(cell, Interval | Difference):
        return [(column, _defined(cell))]
    parts = [("", cell.value), ("_low", cell.low), ("_high", cell.high)]
    if isinstance(cell, Difference):
        parts.append(("_p", cell.p_value))
    return [(column + suffix, _defined(value)) for suffix, value in parts]


def _defined(value: str | int | float | None) -> str | int | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _format(cell: Cell, *, percent: bool) -> str:
    if isinstance(cell, Interval | Difference):
        text = _number(cell.value, percent=percent)
        if math.isfinite(cell.low) and math.isfinite(cell.high):
            text += (
                f" [{_number(cell.low, percent=percent)}, {_number(cell.high, percent=percent)}]"
            )
        if isinstance(cell, Difference) and math.isfinite(cell.p_value):
            text += f", p {_p_value(cell.p_value)}"
        return text
    if cell is None:
        return ""
    return _number(cell, percent=percent) if isinstance(cell, float) else _escape(str(cell))


def _escape(text: str) -> str:
    """Keep a name from ending its cell or its row."""
    return " ".join(text.replace("|", "\\|").splitlines())


def _number(value: float, *, percent: bool) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f}" if percent else f"{value:.3f}"


def _p_value(p_value: float) -> str:
    return f"= {p_value:.3f}" if p_value >= 0.001 else "< 0.001"
