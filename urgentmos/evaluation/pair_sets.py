"""Pairs to judge predictors on: made from a rated corpus, or judged as pairs by listeners."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from urgentmos.data.manifest import Pair, Recording
from urgentmos.data.pairs import RATING_TOLERANCE, Matching, is_graded, make_pairs
from urgentmos.data.recording import is_known
from urgentmos.evaluation.bootstrap import Unit
from urgentmos.evaluation.preference import DELTA, verdicts_from_differences
from urgentmos.evaluation.ratings import RatedCorpus
from urgentmos.ndarray import NDArray

BENCHMARK_CAP = 100_000
"""Most pairs of one corpus in the preference benchmark of UrgentMOS (§4.1.2)."""


@dataclass(frozen=True)
class PairSet:
    """Pairs of one corpus with what listeners said about them.

    Attributes:
        name: Corpus.
        recordings: What is paired, with the references that intrusive metrics compare with.
        pairs: The two recordings of each pair, as places in ``recordings``.
        differences: How much better listeners found the first, on the corpus's own scale; +1, 0 and
            -1 where only their verdict is known.
        delta: Largest difference that counts as a tie, on the same scale.
        unit: What a bootstrap draws again.
    """

    name: str
    recordings: Sequence[Recording]
    pairs: Int[NDArray[np.int64], "pairs 2"]
    differences: Float[NDArray[np.float64], " pairs"]
    delta: float
    unit: Unit

    @property
    def paths(self) -> list[Path]:
        """Audio file of each recording."""
        return [recording.audio_path for recording in self.recordings]

    @property
    def labels(self) -> Int[NDArray[np.int64], " pairs"]:
        """Verdict of the listeners on each pair: A better, tie, B better (UrgentMOS, Eq. 6)."""
        return verdicts_from_differences(self.differences, delta=self.delta)

    @property
    def strict(self) -> Bool[NDArray[np.bool_], " pairs"]:
        """Which pairs listeners ordered at all: those that acc_0 is about."""
        ordered: Bool[NDArray[np.bool_], " pairs"] = np.abs(self.differences) > RATING_TOLERANCE
        return ordered

    @property
    def is_graded(self) -> bool:
        """Whether it is known by how much one recording is better, and not only which."""
        return is_graded(self.differences)


def build_pair_set(
    name: str,
    pairs: Sequence[Pair],
    *,
    known: Sequence[Recording] = (),
    delta: float = DELTA,
    unit: Unit = "pair",
) -> PairSet:
    """Number the files of some pairs, each once.

    Args:
        name: Corpus.
        pairs: Each with its comparison score.
        known: Recordings that state the references of files. Where they state several for one file,
            nothing says which is meant, and it has none.
        delta: Largest comparison score that is a tie. Verdicts alone are +1, -1 and 0: any value
            from 0 to below 1 keeps them as they are.
        unit: What a bootstrap draws again.
    """
    meta = _references(known)
    durations = {
        path: duration
        for pair in pairs
        for path, duration in zip((pair.a, pair.b), pair.durations, strict=True)
    }
    place = {path: number for number, path in enumerate(durations)}
    numbered = [[place[pair.a], place[pair.b]] for pair in pairs]
    return PairSet(
        name=name,
        # A pair says nothing of its members but where they are.
        recordings=[
            Recording(path, str(path), "-", "-", duration, meta=meta.get(path, {}))
            for path, duration in durations.items()
        ],
        pairs=np.array(numbered, dtype=np.int64).reshape(-1, 2),
        differences=np.array([pair.cmos for pair in pairs], dtype=float),
        delta=delta,
        unit=unit,
    )


def pair_rated_corpus(
    corpus: RatedCorpus,
    *,
    matching: Matching = "ref",
    delta: float = DELTA,
    ordered: bool = False,
    cap: int | None = None,
    seed: int = 0,
) -> PairSet:
    """Pair the recordings of a rated corpus.

    Args:
        corpus: Where pairs come from; recordings without a rating are left out.
        matching: Which recordings may form a pair.
        delta: Tie threshold on a five-point scale; it is rescaled to the corpus's own.
        ordered: Both (A, B) and (B, A), as Table 3 of UrgentMOS counts them.
        cap: Largest number of pairs; beyond it they are drawn at random.
        seed: Of the drawing.

    Raises:
        PairError: No two recordings can be paired this way.
    """
    pairs = make_pairs(corpus.recordings, matching=matching, ordered=ordered, cap=cap, seed=seed)
    return build_pair_set(
        corpus.name,
        pairs,
        known=corpus.recordings,
        delta=corpus.rescale_delta(delta),
        unit="recording",
    )


def can_pair(corpus: RatedCorpus, matching: Matching) -> bool:
    """Say whether two rated recordings of a corpus may be paired."""
    # A file is not paired with itself, under whatever name it comes again.
    rated = {
        (recording.reference_id if matching == "ref" else "", recording.audio_path)
        for recording in corpus.recordings
        if "mos" in recording.metrics and (matching != "ref" or is_known(recording.reference_id))
    }
    return len(rated) > len({group for group, _ in rated})


def _references(recordings: Sequence[Recording]) -> dict[Path, dict[str, str]]:
    """Give the ``meta`` of files that some recordings state one reference of, and no other."""
    stated: dict[Path, dict[str, str]] = {}
    for recording in recordings:
        if (reference := recording.meta.get("reference_path")) is not None:
            # Manifests of several folders name one file in several ways.
            stated.setdefault(recording.audio_path, {})[os.path.abspath(reference)] = reference
    return {
        path: {"reference_path": reference}
        for path, found in stated.items()
        if len(found) == 1
        for reference in found.values()
    }
