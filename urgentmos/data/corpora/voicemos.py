"""Lists of the VoiceMOS challenges: a line per vote (2022), or per recording (2023, 2024)."""

from collections.abc import Iterator
from pathlib import Path

from urgentmos.data.corpora.recipe import Problems, RatedFile
from urgentmos.data.corpora.tables import find_file, read_number, read_table

_VOTE_COLUMNS = ("system", "wav", "score", "unused", "listener")
_SETS = {"TRAINSET": "train", "DEVSET": "validation", "TESTSET": "test"}


def read_vote_sets(folder: Path, problems: Problems) -> Iterator[RatedFile]:
    """Read ``TRAINSET``, ``DEVSET`` and ``TESTSET`` of the 2022 challenge, one row per vote.

    Files are named ``sysXXXX-uttYYYY.wav`` and lie in ``wav`` beside the folder of the sets.
    """
    for name, split in _SETS.items():
        table = find_file(folder, name, problems)
        if table is None:
            continue
        for row in read_table(table, problems, columns=_VOTE_COLUMNS, header=False):
            stem = row["wav"].removesuffix(".wav")
            system, dash, reference = stem.partition("-")
            score = read_number(row["score"], problems, f"{table}: {stem}")
            if not dash:
                problems.add("file name without system and utterance", stem)
            elif score is not None:
                path = table.parent.parent / "wav" / f"{stem}.wav"
                yield RatedFile(path, system, reference, score, split)


def read_means(table: Path, problems: Problems) -> Iterator[tuple[str, float]]:
    """Read a list of ``recording,mean rating`` lines; names come without ``.wav``."""
    for row in read_table(table, problems, columns=("wav", "score"), header=False):
        score = read_number(row["score"], problems, f"{table}: {row['wav']}")
        if score is not None:
            yield row["wav"].removesuffix(".wav"), score
