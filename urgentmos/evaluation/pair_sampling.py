"""Seeded samples of pairs that are the same on every machine.

Every pair of a corpus has a number, a hash of the two recordings' ids and the seed, and a sample of
k pairs is the k eligible pairs with the smallest numbers. So the sample depends on the recordings,
not on their order, on a random generator's version or on how the search is cut into blocks, and a
recording that is missing takes only its own pairs out.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, UInt64

from urgentmos.data.hashing import scramble
from urgentmos.data.pairs import RATING_TOLERANCE
from urgentmos.data.recording import is_known
from urgentmos.evaluation.ratings import RatedCorpus
from urgentmos.name_bytes import name_bytes
from urgentmos.ndarray import NDArray

Category = Literal["content", "speaker or system", "neither"]
"""What two recordings share (MOS-RMBench, §3.2): (i) the content, (ii) not the content but the
speaker or the system, (iii) neither."""

CATEGORIES: tuple[Category, ...] = get_args(Category)

_ROWS_PER_BLOCK = 256
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

Hashes = UInt64[NDArray[np.uint64], " items"]
Codes = Int[NDArray[np.int64], " recordings"]


@dataclass(frozen=True)
class Sample:
    """Pairs of one category.

    Attributes:
        pairs: The two recordings of each pair, as places in the corpus, in order of their hashes.
        num_possible: Eligible pairs that there are in all.
    """

    pairs: Int[NDArray[np.int64], "pairs 2"]
    num_possible: int


class PairSampler:
    """Eligible pairs of one listening test, by category.

    Two recordings are eligible when both are rated, the ratings differ, and content and system of
    both are known. Where the content is the same, system or speaker must differ.
    """

    def __init__(self, corpus: RatedCorpus, *, salt: str) -> None:
        """Number the recordings of a corpus; ``salt`` holds whatever makes the sample another."""
        recordings = corpus.recordings
        self.ratings: Float[NDArray[np.float64], " recordings"] = corpus.ratings
        self._content = _codes([recording.reference_id for recording in recordings])
        self._system = _codes([recording.system_id for recording in recordings])
        self._speaker = _codes([str(r.meta.get("speaker") or "") for r in recordings])
        self._hashes = _hash_ids([f"{salt}\0{recording.uid}" for recording in recordings])
        usable = (self._content >= 0) & (self._system >= 0) & ~np.isnan(self.ratings)
        self.usable: Int[NDArray[np.int64], " usable"] = np.flatnonzero(usable)

    def sample(self, category: Category, size: int) -> Sample:
        """Draw at most ``size`` pairs of a category."""
        pairs = np.empty((0, 2), dtype=np.int64)
        hashes = np.empty(0, dtype=np.uint64)
        num_possible = 0
        for rows, columns in self._blocks():
            first, second = np.nonzero(
                self.related(rows[:, None], columns[None, :], category)
                & (rows[:, None] < columns[None, :])
            )
            num_possible += len(first)
            found = np.stack([rows[first], columns[second]], axis=1)
            found_hashes = self.pair_hashes(found[:, 0], found[:, 1])
            if len(hashes) == size and size > 0:
                better = found_hashes < hashes[-1]
                found, found_hashes = found[better], found_hashes[better]
            pairs, hashes = np.concatenate([pairs, found]), np.concatenate([hashes, found_hashes])
            kept = np.argsort(hashes, kind="stable")[:size]
            pairs, hashes = pairs[kept], hashes[kept]
        return Sample(pairs, num_possible)

    def related(
        self, a: NDArray[np.int64], b: NDArray[np.int64], category: Category
    ) -> NDArray[np.bool_]:
        """Say which of some pairs, given by places that broadcast, are eligible in a category."""
        same_content = self._content[a] == self._content[b]
        same_system = self._system[a] == self._system[b]
        both_known = (self._speaker[a] >= 0) & (self._speaker[b] >= 0)
        same_speaker = both_known & (self._speaker[a] == self._speaker[b])
        different_speaker = both_known & ~same_speaker
        ordered = np.abs(self.ratings[a] - self.ratings[b]) > RATING_TOLERANCE
        if category == "content":
            chosen = same_content & (~same_system | different_speaker)
        elif category == "speaker or system":
            chosen = ~same_content & (same_system | same_speaker)
        else:
            chosen = ~same_content & ~same_system & ~same_speaker
        eligible: NDArray[np.bool_] = ordered & chosen
        return eligible

    def pair_hashes(
        self, a: NDArray[np.int64], b: NDArray[np.int64]
    ) -> UInt64[NDArray[np.uint64], "*shape"]:
        """Number pairs; the order within a pair does not matter."""
        low = np.minimum(self._hashes[a], self._hashes[b])
        high = np.maximum(self._hashes[a], self._hashes[b])
        return scramble(low + _GOLDEN * scramble(high))

    def sample_triplets(
        self, category: Category, size: int
    ) -> Int[NDArray[np.int64], "triplets 3"]:
        """Draw triplets whose three pairs are all of one category, best rated first.

        Recordings are gone through in the order of their hashes. Each is completed with the two
        others that have the smallest pair hashes with it; a triplet comes once.
        """
        triplets: dict[tuple[int, ...], None] = {}
        for anchor in self.usable[np.argsort(self._hashes[self.usable], kind="stable")]:
            if len(triplets) == size:
                break
            triplet = self._complete(anchor, category)
            if triplet is not None:
                triplets.setdefault(triplet)
        return np.array(list(triplets), dtype=np.int64).reshape(-1, 3)

    def _complete(self, anchor: np.int64, category: Category) -> tuple[int, ...] | None:
        fitting = self.usable[self.related(np.asarray(anchor), self.usable, category)]
        fitting = fitting[np.argsort(self.pair_hashes(np.asarray(anchor), fitting), kind="stable")]
        for place, second in enumerate(fitting):
            others = fitting[place + 1 :]
            thirds = others[self.related(np.asarray(second), others, category)]
            if len(thirds):
                members = np.array([anchor, second, thirds[0]])
                return tuple(members[np.argsort(-self.ratings[members])].tolist())
        return None

    def _blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        for start in range(0, len(self.usable), _ROWS_PER_BLOCK):
            yield self.usable[start : start + _ROWS_PER_BLOCK], self.usable[start:]


def share_out(total: int, capacities: Sequence[int]) -> list[int]:
    """Split a total as evenly as capacities allow; what one cannot take goes to the others."""
    shares = [0] * len(capacities)
    remaining = min(total, sum(capacities))
    while remaining:
        open_places = [i for i, capacity in enumerate(capacities) if shares[i] < capacity]
        step = max(1, remaining // len(open_places))
        for place in open_places:
            taken = min(step, capacities[place] - shares[place], remaining)
            shares[place] += taken
            remaining -= taken
    return shares


def _codes(names: Sequence[str]) -> Codes:
    """Number names by first appearance; -1 where a name is unknown."""
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(name, len(numbers)) if is_known(name) else -1 for name in names],
        dtype=np.int64,
    )


def _hash_ids(ids: Sequence[str]) -> Hashes:
    digests = [hashlib.blake2b(name_bytes(name), digest_size=8).digest() for name in ids]
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)
