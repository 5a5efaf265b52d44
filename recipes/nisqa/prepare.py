"""Prepare the NISQA corpus: two training, two validation and three test listening tests."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.recipe import Expected, Problems, RatedFile, Recipe
from urgentmos.data.corpora.tables import read_number, read_table

SUBSETS = {
    "TRAIN_SIM": "train",
    "TRAIN_LIVE": "train",
    "VAL_SIM": "validation",
    "VAL_LIVE": "validation",
    "TEST_LIVETALK": "test",
    "TEST_FOR": "test",
    "TEST_P501": "test",
}
DIMENSIONS = {
    "noi": "mos_noisiness",
    "col": "mos_coloration",
    "dis": "mos_discontinuity",
    "loud": "mos_loudness",
}


def read(folder: Path, output: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read one table per subset; the subsets are listening tests of their own."""
    for subset, split in SUBSETS.items():
        place = folder / f"NISQA_{subset}"
        table = place / f"NISQA_{subset}_file.csv"
        columns = ("con", "filename_deg", "filename_ref", "mos", *DIMENSIONS)
        for row in read_table(table, problems, columns=columns):
            rating = read_number(row["mos"], problems, f"{table}: {row['filename_deg']}")
            if rating is None:
                continue
            system, reference = identify(row, split=split)
            path = place / "deg" / row["filename_deg"]
            dimensions = {
                name: value
                for column, name in DIMENSIONS.items()
                if (value := read_number(row[column], problems, f"{path}: {column}")) is not None
            }
            votes = row.get("votes", "")
            yield RatedFile(
                path,
                system,
                reference,
                rating,
                split,
                corpus="nisqa_" + subset.removeprefix("TEST_").lower(),
                votes=round(float(votes)) if votes.replace(".", "").isdigit() else None,
                metrics=dimensions,
                meta={"language": row["lang"]} if row.get("lang") else {},
            )


def identify(row: dict[str, str], *, split: str) -> tuple[str, str]:
    """Name system and content of a recording.

    In the test sets a file name is its condition, then its content. In training and validation
    every recording has content and condition of its own, except those whose names start with
    the name of their reference, ``book...``.
    """
    stem = Path(row["filename_deg"]).stem
    condition = f"{float(row['con']):g}" if row["con"].replace(".", "").isdigit() else row["con"]
    if split == "test":
        return condition, stem.partition("_")[2] or stem
    if stem.startswith("book"):
        reference = Path(row["filename_ref"]).stem
        return stem.removeprefix(reference).lstrip("_-") or condition, reference
    return condition, stem


RECIPE = Recipe(
    "nisqa",
    read,
    expected=(
        Expected("train", 10_000, corpus="nisqa_train_sim"),
        Expected("train", 1_020, corpus="nisqa_train_live"),
        Expected("validation", 2_500, corpus="nisqa_val_sim"),
        Expected("validation", 200, corpus="nisqa_val_live"),
        Expected("test", 232, corpus="nisqa_livetalk"),
        Expected("test", 240, corpus="nisqa_for"),
        Expected("test", 240, corpus="nisqa_p501"),
    ),
)

if __name__ == "__main__":
    run(RECIPE)
