"""Prepare SingMOS: singing voice, natural and synthesised."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import find_file
from urgentmos.data.corpora.voicemos import read_means

LISTS = {
    "train_mos_list.txt": "train",
    "val_mos_list.txt": "validation",
    "test_mos_list.txt": "test",
}


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the lists of means; names are ``voicemos2024-track2-sys0001-utt0001``."""
    for name, split in LISTS.items():
        table = find_file(folder, name, problems)
        if table is None:
            continue
        for stem, rating in read_means(table, problems):
            parts = stem.split("-")
            if len(parts) != 4:
                problems.add("file name without system and utterance", stem)
                continue
            path = table.parent.parent / "wav" / f"{stem}.wav"
            yield RatedFile(path, parts[2], parts[3], rating, split)


RECIPE = Recipe("singmos", read)

if __name__ == "__main__":
    run(RECIPE)
