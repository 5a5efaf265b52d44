"""Scores that other programs wrote: any column of a CSV becomes a predictor."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from urgentmos.data.manifest import Recording
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.metrics import UnknownMetricError, get_metric
from urgentmos.name_bytes import CSV_ERRORS

_PATH_COLUMNS = ("path", "audio_path")


class ScoreTableError(ValueError):
    """A table of scores cannot be used; the message names the file and what was expected."""


def read_score_column(
    path: str | Path, column: str, *, recordings: Sequence[Recording]
) -> ScorePredictor:
    """Read one column of a CSV as a predictor.

    Rows are matched by ``path`` or ``audio_path`` (relative to the working directory or to the
    table's folder), or else by ``uid``; a score is that of the file, in whatever manifest it is.
    Rows of other recordings are ignored; an empty cell, or a row that is not there, is a missing
    score.

    Args:
        path: The table, as ``urgentmos score`` writes it or any other with such a column.
        column: Which column.
        recordings: Recordings that scores are wanted for, a file by one path, as in ``Material``.

    Raises:
        ScoreTableError: It is no CSV, the column or a key is missing, a cell is no number, a
            file has two different scores, a uid stands for several recordings, or no row
            matches.
    """
    path = Path(path)
    try:
        key, rows = _read_rows(path, column)
    except csv.Error as error:
        raise ScoreTableError(f"{path}: not a table of scores: {error}") from error
    places = _places_by_uid(recordings) if key == "uid" else _places_by_path(recordings)
    scores: dict[Path, float] = {}
    for number, name, cell in rows:
        candidates = [name] if key == "uid" else [_absolute(name), _absolute(path.parent / name)]
        place = next((places[candidate] for candidate in candidates if candidate in places), None)
        if place is None:
            continue
        score = _parse(cell, where=f"{path}:{number}: {column}")
        if place in scores and not _same(scores[place], score):
            raise ScoreTableError(
                f"{path}:{number}: expected one row per recording, got {name!r} again: first "
                f"{scores[place]:g}, then {score:g}, of {place}"
            )
        scores[place] = score
    if recordings and not scores:
        raise ScoreTableError(
            f"{path}: no row matches a recording by {key!r}; the table has "
            f"{rows[0][1] if rows else 'no rows'!r}, the manifest {next(iter(places))!r}"
        )
    return ScorePredictor(f"{path.stem}:{column}", scores, metric=_metric(column))


def read_score_columns(
    columns: Sequence[str], *, recordings: Sequence[Recording]
) -> list[ScorePredictor]:
    """Read columns of tables as predictors, ``TABLE:COLUMN`` by the table's name without suffix.

    Args:
        columns: ``FILE.csv:COLUMN`` each; they are the names where tables share theirs.
        recordings: Recordings that scores are wanted for.

    Raises:
        ScoreTableError: One is not of that form, or cannot be read, see ``read_score_column``.
    """
    predictors: dict[str, ScorePredictor] = {}
    for stated in columns:
        table, colon, column = stated.rpartition(":")
        if not colon:
            raise ScoreTableError(f"expected FILE.csv:COLUMN, got {stated!r}")
        predictors[stated] = read_score_column(table, column, recordings=recordings)
    if len({predictor.name for predictor in predictors.values()}) == len(predictors):
        return list(predictors.values())
    return [replace(predictor, name=stated) for stated, predictor in predictors.items()]


def _read_rows(path: Path, column: str) -> tuple[str, list[tuple[int, str, str]]]:
    """Read the column that says what a row is about; and of each row its line, that and a cell."""
    # Spreadsheets put a byte order mark first; names of files need not be Unicode.
    with path.open(encoding="utf-8-sig", errors=CSV_ERRORS, newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        key = next((name for name in (*_PATH_COLUMNS, "uid") if name in columns), None)
        if key is None or column not in columns:
            raise ScoreTableError(
                f"{path}: expected a column {column!r} and one of path, audio_path or uid; "
                f"it has {', '.join(columns) or 'none'}"
            )
        return key, [(reader.line_num, row[key] or "", row[column]) for row in reader]


def _places_by_path(recordings: Sequence[Recording]) -> Mapping[str, Path]:
    return {_absolute(recording.audio_path): recording.audio_path for recording in recordings}


def _places_by_uid(recordings: Sequence[Recording]) -> Mapping[str, Path]:
    places: dict[str, Path] = {}
    for recording in recordings:
        if places.setdefault(recording.uid, recording.audio_path) != recording.audio_path:
            raise ScoreTableError(
                f"uid {recording.uid!r} stands for several recordings of the manifests; "
                "give the table a column 'path'"
            )
    return places


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)


def _parse(cell: str, *, where: str) -> float:
    if not cell:
        return math.nan
    try:
        score = float(cell)
    except ValueError as error:
        raise ScoreTableError(f"{where}: expected a number or nothing, got {cell!r}") from error
    if math.isinf(score):
        raise ScoreTableError(f"{where}: expected a finite number or nothing, got {cell!r}")
    return score


def _same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def _metric(column: str) -> str:
    try:
        return get_metric(column).name
    except UnknownMetricError:
        return column
