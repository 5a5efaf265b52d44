"""Prepare TCD-VoIP: degradations of voice calls, rated by 24 listeners."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import find_file, merge_votes, read_number
from urgentmos.extras import require

SHEET = "Subjective Test Scores"
LISTENERS = [str(number) for number in range(1, 25)]
# "C_01_ECHO_FA.wav": the content's name starts after the condition.
CONDITION_LETTERS = 5


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the workbook's votes, one column per listener."""
    return merge_votes(_votes(folder, problems), problems)


def _votes(folder: Path, problems: Problems) -> Iterator[RatedFile]:
    workbook = find_file(folder, "*.xlsx", problems)
    if workbook is None:
        return
    files = {path.name: path for path in sorted(folder.rglob("*.wav"))}
    load = require("openpyxl", extra="corpora").load_workbook
    with contextlib.closing(load(workbook, read_only=True)) as sheets:
        if SHEET not in sheets.sheetnames:
            found = sheets.sheetnames
            problems.add("unreadable table", f"{workbook}: no sheet {SHEET!r} in {found}")
            return
        rows = iter(list(sheets[SHEET].iter_rows(values_only=True)))
    header = [str(cell).strip() for cell in next(rows, ())]
    missing = [name for name in ("Filename", "ConditionID") if name not in header]
    if missing:
        problems.add("unreadable table", f"{workbook}: no column {missing[0]!r} in {header}")
        return
    for cells in rows:
        row = dict(zip(header, cells, strict=False))
        if row["Filename"] is None:
            continue
        name = str(row["Filename"]).strip()
        for listener in LISTENERS:
            if row.get(listener) is None:
                continue
            vote = read_number(str(row[listener]), problems, f"{name}, listener {listener}")
            if vote is not None:
                yield RatedFile(
                    files.get(name, folder / name),
                    str(row["ConditionID"]).zfill(3),
                    Path(name).stem[CONDITION_LETTERS:],
                    vote,
                    "train",
                )


RECIPE = Recipe("tcd_voip", read, expected=(Expected("train", 384, hours=0.87, systems=24),))

if __name__ == "__main__":
    run(RECIPE)
