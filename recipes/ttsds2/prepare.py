"""Prepare the MOS ratings of the TTSDS2 listening test: recent speech synthesis."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import find_file, merge_votes, read_number, read_table

COLUMNS = ("audio", "dataset", "system", "rating_type", "value")


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the votes whose ``rating_type`` is ``mos``; the table holds other tests too."""
    return merge_votes(_votes(folder, problems), problems)


def _votes(folder: Path, problems: Problems) -> Iterator[RatedFile]:
    table = find_file(folder, "subjective_results.csv", problems)
    if table is None:
        return
    for row in read_table(table, problems, columns=COLUMNS):
        if row["rating_type"] != "mos":
            continue
        rating = read_number(row["value"], problems, f"{table}: {row['audio']}")
        if rating is not None:
            yield RatedFile(
                table.parent / row["audio"],
                f"{row['dataset']}-{row['system']}",
                Path(row["audio"]).stem,
                rating,
                "train",
            )


RECIPE = Recipe("ttsds2", read, expected=(Expected("train", 460, hours=0.96, systems=80),))

if __name__ == "__main__":
    run(RECIPE)
