"""Prepare URGENT2025-SQA: submissions to the URGENT 2025 speech enhancement challenge."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.urgent_sqa import read_submissions


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the splits; recordings without ratings are kept, for computed labels."""
    return read_submissions(folder, output / "audio" / "urgent2025_sqa", problems)


RECIPE = Recipe(
    "urgent2025_sqa",
    read,
    expected=(Expected("train", 100_000, hours=261.31, systems=100),),
)

if __name__ == "__main__":
    run(RECIPE)
