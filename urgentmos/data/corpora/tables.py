"""Tables of ratings as corpora bring them, and votes to means."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from urgentmos.data.corpora.recipe import FIVE_POINT, Problems, RatedFile


def merge_votes(
    rows: Iterable[RatedFile], problems: Problems, *, scale: tuple[float, float] = FIVE_POINT
) -> Iterator[RatedFile]:
    """Average the votes on each file.

    Args:
        rows: One vote each.
        problems: Where votes outside the scale are noted, and files whose votes disagree about what
            they are.
        scale: Lowest and highest vote possible.
    """
    by_file: dict[tuple[str, Path], list[RatedFile]] = {}
    for row in rows:
        if row.rating is not None and not scale[0] <= row.rating <= scale[1]:
            problems.add("rating out of range", f"{row.path}: {row.rating:g}")
            continue
        by_file.setdefault((row.corpus, row.path), []).append(row)
    for (_, path), votes in by_file.items():
        if len({(vote.system, vote.reference, vote.split) for vote in votes}) > 1:
            problems.add("votes on one file name several systems, references or splits", path)
            continue
        ratings = [vote.rating for vote in votes if vote.rating is not None]
        mean = math.fsum(ratings) / len(ratings) if ratings else None
        yield replace(votes[0], rating=mean, votes=len(ratings))


def read_table(
    path: Path,
    problems: Problems,
    *,
    columns: Sequence[str],
    header: bool = True,
) -> Iterator[dict[str, str]]:
    """Read the rows of a text table.

    Args:
        path: The table.
        problems: Where a missing or unreadable table, or a row with too few cells, is noted.
        columns: Columns that must be there; without a header, the names of the first ones.
        header: Whether the first line names the columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, None if header else list(columns), restkey="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                found = ", ".join(map(str, reader.fieldnames or ()))
                problems.add("unreadable table", f"{path}: no column {missing[0]!r} in {found}")
                return
            for row in reader:
                if any(row[name] is None for name in columns):
                    problems.add("incomplete row", f"{path}:{reader.line_num}")
                    continue
                yield {name: cell.strip() for name, cell in row.items() if isinstance(cell, str)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.add("unreadable table", f"{path}: {error}")


def read_number(cell: str, problems: Problems, where: object) -> float | None:
    """Read a rating; what is no finite number is noted and None."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    problems.add("rating is no number", f"{where}: {cell!r}")
    return None


def find_file(folder: Path, name: str, problems: Problems) -> Path | None:
    """Find a file by name anywhere below a folder; none or several are a problem."""
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        seen = ", ".join(map(str, found)) or f"none below {folder}"
        problems.add("unreadable table", f"expected one {name}, found {seen}")
        return None
    return found[0]
