"""Prepare SOMOS, clean subset: neural speech synthesis of LJ Speech."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import merge_votes, read_number, read_table

SETS = {"TRAINSET": "train", "VALIDSET": "validation", "TESTSET": "test"}


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the listeners' votes of the three sets."""
    return merge_votes(_votes(folder, problems), problems)


def _votes(folder: Path, problems: Problems) -> Iterator[RatedFile]:
    for name, split in SETS.items():
        table = folder / "training_files" / "split1" / "clean" / name
        for row in read_table(table, problems, columns=("utteranceId", "choice")):
            stem = row["utteranceId"].removesuffix(".wav")
            reference, underscore, system = stem.rpartition("_")
            rating = read_number(row["choice"], problems, f"{table}: {stem}")
            if not underscore:
                problems.add("file name without system and utterance", stem)
            elif rating is not None:
                path = folder / "audios" / f"{stem}.wav"
                yield RatedFile(path, system, reference, rating, split)


RECIPE = Recipe(
    "somos",
    read,
    expected=(
        Expected("train", 14_100, hours=18.32, systems=181),
        Expected("validation", 3_000),
        Expected("test", 3_000),
    ),
)

if __name__ == "__main__":
    run(RECIPE)
