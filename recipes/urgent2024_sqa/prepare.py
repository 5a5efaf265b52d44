"""Prepare URGENT2024-SQA: submissions to the URGENT 2024 speech enhancement challenge."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.urgent_sqa import read_submissions


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the splits; recordings without ratings are kept, for computed labels."""
    return read_submissions(folder, output / "audio" / "urgent2024_sqa", problems)


RECIPE = Recipe(
    "urgent2024_sqa",
    read,
    expected=(
        Expected("train", 238_000, hours=429.34, systems=238),
        Expected("test", 6_900, hours=13.80, systems=23),
    ),
)

if __name__ == "__main__":
    run(RECIPE)
