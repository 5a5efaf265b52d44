"""Prepare the comparisons of SpeechEval: pairs with a verdict A, B or tie."""

import json
from collections.abc import Iterator
from pathlib import Path

from urgentmos.cli.prepare_corpus import run
from urgentmos.data.corpora.hub_tables import read_parquet
from urgentmos.data.corpora.recipe import Expected, JudgedPair, Problems, Recipe

SPLITS = ("train", "validation", "test")
PREFERENCES = {"a": 1, "b": -1, "tie": 0}


def read(folder: Path, output: Path, problems: Problems) -> Iterator[JudgedPair]:
    """Join the pairs in ``rawdata`` with the verdicts in ``preference``."""
    for split in SPLITS:
        verdicts = _read_verdicts(folder / "preference" / f"{split}.jsonl", problems)
        columns = ("task", "key", "path", "path_B")
        for row in read_parquet(folder / "rawdata", split, problems, columns=columns):
            if row["task"] != "CompareEval":
                continue
            verdict = verdicts.get(str(row["key"]), "no verdict")
            if verdict.lower() not in PREFERENCES:
                problems.add("pair without a verdict", f"{row['key']}: {verdict}")
                continue
            a, b = (folder / "rawdata" / str(row[side]) for side in ("path", "path_B"))
            yield JudgedPair(a, b, PREFERENCES[verdict.lower()], split)


def _read_verdicts(path: Path, problems: Problems) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if line.strip()]
        return {str(record["key"]): str(record["preference"]) for record in records}
    except (OSError, ValueError, KeyError) as error:
        problems.add("unreadable table", f"{path}: {error}")
        return {}


RECIPE = Recipe("speecheval", read, expected=(Expected("train", 73_123, hours=18.25),))

if __name__ == "__main__":
    run(RECIPE)
