"""Prepare SpeechJudge-Data: pairs of synthesised speech judged for naturalness."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.hub_tables import read_parquet, write_audio
from urgentmos.data.corpora.recipe import Expected, JudgedPair, Problems, Recipe

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
PREFERENCES = {"a": 1, "b": -1, "tie": 0}
COLUMNS = ("index", "audioA", "audioB", "naturalness_label")


def read(folder: Path, output: Path, problems: Problems) -> Iterator[JudgedPair]:
    """Read the splits, writing their audio out."""
    for name, split in SPLITS.items():
        for row in read_parquet(folder, name, problems, columns=COLUMNS):
            label = str(row["naturalness_label"]).lower()
            if label not in PREFERENCES:
                problems.add("pair without a verdict", f"{name} {row['index']}: {label}")
                continue
            target = output / "audio" / "speechjudge" / name
            a = write_audio(row["audioA"], target, f"{row['index']}_a", problems=problems)
            b = write_audio(row["audioB"], target, f"{row['index']}_b", problems=problems)
            if a is not None and b is not None:
                yield JudgedPair(a, b, PREFERENCES[label], split)


RECIPE = Recipe("speechjudge", read, expected=(Expected("train", 41_755, hours=328.50),))

if __name__ == "__main__":
    run(RECIPE)
