"""Prepare TMHINT-QI: Mandarin speech in noise and after enhancement."""

import re
from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import find_file, merge_votes, read_number, read_table

COLUMNS = ("method", "snr", "noise", "quality_score", "file_name")
SPEAKER = re.compile(r"TMHINT_([a-z]\d+)_", re.IGNORECASE)


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the listeners' votes; recordings lie in ``train`` and ``test``."""
    return merge_votes(_votes(folder, problems), problems)


def _votes(folder: Path, problems: Problems) -> Iterator[RatedFile]:
    table = find_file(folder, "raw_data.csv", problems)
    if table is None:
        return
    for row in read_table(table, problems, columns=COLUMNS):
        name = row["file_name"].removesuffix(".wav")
        if not row["quality_score"]:
            problems.add("row without quality score", name)
            continue
        rating = read_number(row["quality_score"], problems, f"{table}: {name}")
        if rating is None:
            continue
        is_test = (table.parent / "test" / f"{name}.wav").is_file()
        split = "test" if is_test else "train"
        speaker = SPEAKER.search(name)
        yield RatedFile(
            table.parent / split / f"{name}.wav",
            f"{row['method']}-SNR{row['snr']}-{row['noise']}",
            "TMHINT" + name.rpartition("TMHINT")[2],
            rating,
            split,
            speaker=speaker[1] if speaker else None,
        )


RECIPE = Recipe(
    "tmhint_qi",
    read,
    expected=(Expected("train", 12_937, hours=11.35, systems=98), Expected("test", 1_978)),
)

if __name__ == "__main__":
    run(RECIPE)
