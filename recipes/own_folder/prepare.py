"""Prepare your own recordings: a folder of audio with a table ``ratings.csv``."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import NO_SYSTEM, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import merge_votes, read_number, read_table


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read ``path`` and ``rating``; ``system``, ``reference``, ``speaker``, ``split`` if there.

    A path may come in several rows, one per listener: they are averaged.
    """
    return merge_votes(_votes(folder, problems), problems)


def _votes(folder: Path, problems: Problems) -> Iterator[RatedFile]:
    table = folder / "ratings.csv"
    for row in read_table(table, problems, columns=("path", "rating")):
        rating = read_number(row["rating"], problems, f"{table}: {row['path']}")
        if rating is not None:
            system, reference = row.get("system"), row.get("reference")
            yield RatedFile(
                folder / row["path"],
                system or NO_SYSTEM,
                reference or row["path"],
                rating,
                row.get("split") or "test",
                speaker=row.get("speaker") or None,
                # Several recordings may have one reference although nothing is said of systems.
                variant=row["path"] if reference and not system else row.get("speaker", ""),
            )


RECIPE = Recipe("own_folder", read)

if __name__ == "__main__":
    run(RECIPE)
