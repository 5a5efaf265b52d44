"""What predictors are judged on: rated or labelled recordings, and pairs of them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from urgentmos.data.manifest import Recording, is_pair_manifest, read_pairs
from urgentmos.evaluation.pair_sets import PairSet, build_pair_set
from urgentmos.evaluation.preference import DELTA
from urgentmos.evaluation.ratings import RatedCorpus, read_rated_corpora


class MaterialError(ValueError):
    """Nothing can be judged on some manifests; the message says why."""


@dataclass(frozen=True)
class Material:
    """What some manifests hold.

    A file has one path, however the manifests spell it.

    Attributes:
        corpora: Rated or labelled recordings.
        pair_sets: Pairs that listeners judged as such. Their files have the references that the
            corpora state.
    """

    corpora: Sequence[RatedCorpus]
    pair_sets: Sequence[PairSet]

    @property
    def recordings(self) -> list[Recording]:
        """Every recording of every corpus and set of pairs: a file as often as it is in them."""
        rated = [recording for corpus in self.corpora for recording in corpus.recordings]
        return rated + [recording for pairs in self.pair_sets for recording in pairs.recordings]

    @property
    def paths(self) -> list[Path]:
        """Every file once."""
        return list(dict.fromkeys(recording.audio_path for recording in self.recordings))

    def check_labelled(self, metrics: Sequence[str]) -> None:
        """Refuse corpora without rating and without label of any of some metrics.

        Raises:
            MaterialError: So it is, and there are no pairs either.
        """
        wanted = list(dict.fromkeys(["mos", *metrics]))
        found = {name for corpus in self.corpora for r in corpus.recordings for name in r.metrics}
        if not self.pair_sets and found.isdisjoint(wanted):
            raise MaterialError(
                f"nothing to agree with in {', '.join(corpus.name for corpus in self.corpora)}: "
                f"expected a 'rating', or 'metrics' with one of {', '.join(wanted)}; found "
                f"{', '.join(sorted(found)) or 'no labels'}"
            )


def read_material(
    manifests: Sequence[Path],
    *,
    labels: Sequence[Path] = (),
    split: str | None = None,
    delta: float = DELTA,
) -> Material:
    """Read manifests: rated or labelled corpora, and sets of given pairs.

    Args:
        manifests: Each of recordings, see ``read_rated_corpora``, or of pairs, see ``read_pairs``.
        labels: Label tables to merge into those of recordings, once over all of them.
        split: Keep only recordings whose ``meta.split`` is this one; pairs have no split.
        delta: Largest comparison score that is a tie, where pairs say by how much one recording is
            better. Verdicts alone, +1, -1 and 0, stay as they are.

    Raises:
        MaterialError: Two of them hold a corpus of one name.
        RatingError: A rated manifest cannot be used.
        ManifestError: A manifest is broken, or label tables cannot be merged.
    """
    paired = [path for path in manifests if is_pair_manifest(path)]
    rated = [path for path in manifests if path not in paired]
    spelling = _Spelling()
    corpora = [
        replace(
            corpus,
            recordings=[
                replace(recording, audio_path=spelling.of(recording.audio_path))
                for recording in corpus.recordings
            ],
        )
        for corpus in read_rated_corpora(rated, labels=labels, split=split)
    ]
    known = [recording for corpus in corpora for recording in corpus.recordings]
    pair_sets: list[PairSet] = []
    for path in paired:
        members = [
            replace(pair, a=spelling.of(pair.a), b=spelling.of(pair.b)) for pair in read_pairs(path)
        ]
        pairs = build_pair_set(path.stem, members, known=known)
        pair_sets.append(replace(pairs, delta=delta) if pairs.is_graded else pairs)
    names = [corpus.name for corpus in corpora] + [pairs.name for pairs in pair_sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise MaterialError(
            f"several manifests hold a corpus named {repeated[0]!r}; evaluate one at a time"
        )
    return Material(corpora, pair_sets)


class _Spelling:
    """One path for each file, the first met: manifests of several folders spell it differently.

    By their paths recordings find their scores and references, and are scored once.
    """

    def __init__(self) -> None:
        self._path_by_file: dict[str, Path] = {}

    def of(self, path: Path) -> Path:
        """Give the path that stands for a file."""
        return self._path_by_file.setdefault(os.path.abspath(path), path)
