"""Prepare the PSTN corpus: calls over real telephone networks (ConferencingSpeech 2022)."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import NO_SYSTEM, Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import find_file, read_number, read_table


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read ``pstn_train.csv``; the first token of a file name tells recordings apart."""
    table = find_file(folder, "pstn_train.csv", problems)
    if table is None:
        return
    for row in read_table(table, problems, columns=("filename", "MOS")):
        rating = read_number(row["MOS"], problems, f"{table}: {row['filename']}")
        if rating is None:
            continue
        votes = row.get("votes", "")
        yield RatedFile(
            table.parent / row["filename"],
            NO_SYSTEM,
            Path(row["filename"]).stem.split("_")[0],
            rating,
            "train",
            votes=int(votes) if votes.isdigit() else None,
        )


RECIPE = Recipe("pstn", read, expected=(Expected("train", 58_709, hours=163.08),))

if __name__ == "__main__":
    run(RECIPE)
