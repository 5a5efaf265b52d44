"""Prepare the Tencent corpus: Mandarin speech over simulated calls (ConferencingSpeech 2022)."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import NO_SYSTEM, Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import read_number, read_table

TABLES = ("withoutReverberationTrainDevMOS.csv", "withReverberationTrainDevMOS.csv")


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read both tables; the path of a recording is all that tells it apart."""
    for name in TABLES:
        for row in read_table(folder / name, problems, columns=("deg_wav", "mos")):
            path = row["deg_wav"].replace("\\", "/").removeprefix("./")
            rating = read_number(row["mos"], problems, f"{name}: {path}")
            if rating is not None:
                yield RatedFile(
                    folder / path, NO_SYSTEM, path.removesuffix(".wav"), rating, "train"
                )


RECIPE = Recipe("tencent", read, expected=(Expected("train", 11_563, hours=23.51),))

if __name__ == "__main__":
    run(RECIPE)
