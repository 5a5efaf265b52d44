"""Prepare BC19: the out-of-domain track of the VoiceMOS Challenge 2022 (Blizzard 2019)."""

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
    "bc19",
    read,
    expected=(
        Expected("train", 136, hours=0.32, systems=21),
        Expected("validation", 136),
        Expected("test", 540),
    ),
)

if __name__ == "__main__":
    run(RECIPE)
