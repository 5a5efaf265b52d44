"""URGENT2024-SQA and URGENT2025-SQA: enhanced speech with ratings, as on the Hub."""

import math
from collections.abc import Iterator
from pathlib import Path

from urgentmos.data.corpora.hub_tables import read_parquet, write_audio
from urgentmos.data.corpora.recipe import Problems, RatedFile

_SPLITS = {"validation": "train", "nonblind_test": "train", "blind_test_mos": "test"}
_COLUMNS = ("sample_id", "system_id", "mos", "audio")


def read_submissions(folder: Path, audio: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read the three splits that are used, writing their audio out.

    Args:
        folder: The dataset as downloaded.
        audio: Where audio goes: ``<split>/<system>/<sample>``.
        problems: What cannot be used.
    """
    for name, split in _SPLITS.items():
        for row in read_parquet(folder, name, problems, columns=_COLUMNS):
            system, sample = str(row["system_id"]), str(row["sample_id"])
            path = write_audio(row["audio"], audio, name, system, sample, problems=problems)
            if path is not None:
                mos = row["mos"]
                rating = None if mos is None or math.isnan(mos) else mos
                yield RatedFile(path, system, sample, rating, split)
