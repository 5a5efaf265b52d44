"""Prepare BVCC: the main track of the VoiceMOS Challenge 2022."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import merge_votes
from urgentmos.data.corpora.voicemos import read_vote_sets


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the listeners' votes of the three sets."""
    return merge_votes(read_vote_sets(folder, problems), problems)


RECIPE = Recipe(
    "bvcc",
    read,
    expected=(
        Expected("train", 4973, hours=5.56, systems=175),
        Expected("validation", 1066),
        Expected("test", 1066),
    ),
)

if __name__ == "__main__":
    run(RECIPE)
