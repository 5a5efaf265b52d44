"""Prepare the listening test of the CHiME-7 UDASE evaluation: enhanced party conversations."""

import ast
from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import find_file, merge_votes, read_number, read_table


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the lists of votes; the anchors of condition ``ref`` are not recordings of the test."""
    return merge_votes(_votes(folder, problems), problems)


def _votes(folder: Path, problems: Problems) -> Iterator[RatedFile]:
    table = find_file(folder, "MOS_results_listening_test.csv", problems)
    if table is None:
        return
    for row in read_table(table, problems, columns=("condition", "sample", "rating_list")):
        condition, name = row["condition"], row["sample"]
        if condition.lower() == "ref":
            continue
        for vote in _parse_list(row["rating_list"], problems, f"{condition}/{name}"):
            rating = read_number(str(vote), problems, f"{condition}/{name}")
            if rating is not None:
                path = table.parent / "data" / condition / name
                yield RatedFile(path, condition, Path(name).stem, rating, "test")


def _parse_list(cell: str, problems: Problems, where: str) -> list[object]:
    try:
        votes = ast.literal_eval(cell)
    except (SyntaxError, ValueError):
        votes = None
    if isinstance(votes, list | tuple):
        return list(votes)
    problems.add("rating is no number", f"{where}: {cell!r}")
    return []


RECIPE = Recipe("chime7_udase", read, expected=(Expected("test", 640, hours=0.84, systems=5),))

if __name__ == "__main__":
    run(RECIPE)
