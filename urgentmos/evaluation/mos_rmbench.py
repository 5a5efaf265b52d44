"""MOS-RMBench: pairs of six rated corpora, and how often a predictor prefers the better one.

The paper (arXiv 2510.00743) gives sizes, categories and rules but neither pairs nor code. What it
leaves open is decided here, under a version:

- Pairs stay within one listening test. The tests of NISQA and the tracks of VMC'23 are tests of
  their own; a dataset's size is split evenly over its tests and the three categories, and what one
  of these cannot fill goes to the others.
- Within a category, pairs are a uniform sample of all eligible ones (see `pair_sampling`).
- Two recordings of one content, system and speaker are not a pair. Unknown speakers are nobody's
  equal. Recordings without rating, content or system are left out.
- Triplets: 100 of each dataset, 65 of SOMOS, split in the same way; all three pairs of a triplet
  are of its category.
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from urgentmos.data.hashing import scramble
from urgentmos.data.pairs import RATING_TOLERANCE
from urgentmos.evaluation.pair_sampling import CATEGORIES, Category, PairSampler, share_out
from urgentmos.evaluation.pair_sets import PairSet
from urgentmos.evaluation.preference import Preferences
from urgentmos.evaluation.ratings import RatedCorpus
from urgentmos.ndarray import NDArray

VERSION = "1"

SIZES: dict[str, dict[str, int]] = {
    "bvcc": {"train": 9948, "validation": 2132, "test": 1000},
    "nisqa": {"train": 11571, "validation": 2796, "test": 2240},
    "singmos": {"train": 10000, "validation": 2720, "test": 1000},
    "somos": {"train": 13814, "validation": 2257, "test": 1000},
    "tmhint_qi": {"train": 10000, "test": 1000},
    "vmc23": {"test": 3000},
}
"""Pairs by dataset and split (Table 1)."""

NUM_TRIPLETS = {"somos": 65}
DEFAULT_NUM_TRIPLETS = 100

NUM_BINS = 10
"""Percentile bins of the error analysis (Fig. 3)."""

_SWAP = np.uint64(0xD1B54A32D192ED03)


class BenchmarkError(ValueError):
    """The benchmark cannot be built from what was given."""


@dataclass(frozen=True)
class Stratum:
    """One category of one listening test.

    Attributes:
        dataset: Key of ``SIZES``.
        test: Name of the corpus, which is one listening test.
        category: What the two recordings of a pair share.
        num_pairs: Pairs drawn.
        num_possible: Eligible pairs.
    """

    dataset: str
    test: str
    category: Category
    num_pairs: int
    num_possible: int


@dataclass(frozen=True)
class Benchmark:
    """The pairs and triplets of some datasets.

    Attributes:
        pair_sets: Pairs by dataset, in the order in which they are presented.
        triplets: By dataset: for each triplet A, B, C, best first, the pairs (A, B), (B, C), (A, C)
            one after the other, each in its order of presentation.
        strata: Where the pairs come from.
        wanted: Pairs of each dataset according to Table 1.
        num_unusable: Recordings without rating, content or system, by dataset.
        digest: Names the pair list: the same from the same recordings on every machine.
    """

    pair_sets: dict[str, PairSet]
    triplets: dict[str, PairSet]
    strata: list[Stratum]
    wanted: dict[str, int]
    num_unusable: dict[str, int]
    digest: str


def find_dataset(corpus: str) -> str | None:
    """Name the dataset that a corpus belongs to: ``nisqa_p501`` is a test of ``nisqa``."""
    return next((name for name in SIZES if corpus == name or corpus.startswith(f"{name}_")), None)


def build_benchmark(
    corpora: Sequence[RatedCorpus],
    *,
    split: str = "test",
    seed: int = 0,
    pin: str | None = None,
) -> Benchmark:
    """Draw the pairs of a split.

    Args:
        corpora: Listening tests whose names start with a dataset's, as the recipes write them,
            already reduced to the split.
        split: ``train``, ``validation`` or ``test``: decides the sizes.
        seed: Another seed, other pairs.
        pin: Digest that the pairs must have; any when None.

    Raises:
        BenchmarkError: A corpus belongs to no dataset, its dataset has no such split, or the pairs
            have another digest.
    """
    by_dataset: dict[str, list[RatedCorpus]] = {}
    for corpus in corpora:
        dataset = find_dataset(corpus.name)
        if dataset is None or split not in SIZES[dataset]:
            known = ", ".join(name for name, sizes in SIZES.items() if split in sizes)
            raise BenchmarkError(
                f"MOS-RMBench has no {split!r} pairs of corpus {corpus.name!r}; it has some of "
                f"{known}, and of corpora named after them, as nisqa_p501"
            )
        by_dataset.setdefault(dataset, []).append(corpus)
    drawn = [
        _Dataset(name, sorted(tests, key=lambda test: test.name), split, seed)
        for name, tests in sorted(by_dataset.items())
    ]
    lines = sorted(line for dataset in drawn for line in dataset.lines)
    header = f"mos-rmbench {VERSION} {split} {seed}"
    digest = hashlib.sha256("\n".join([header, *lines]).encode()).hexdigest()[:16]
    if pin is not None and digest != pin:
        raise BenchmarkError(
            f"expected pairs with digest {pin}, drew {digest}: the recordings, their ids or "
            "ratings, the split or the seed differ"
        )
    return Benchmark(
        pair_sets={dataset.name: dataset.pairs() for dataset in drawn},
        triplets={dataset.name: dataset.triplets() for dataset in drawn},
        strata=[stratum for dataset in drawn for stratum in dataset.strata],
        wanted={dataset.name: dataset.size for dataset in drawn},
        num_unusable={dataset.name: dataset.num_unusable for dataset in drawn},
        digest=digest,
    )


class _Dataset:
    """The listening tests of one dataset, and what is drawn from them."""

    def __init__(self, name: str, tests: Sequence[RatedCorpus], split: str, seed: int) -> None:
        self.name = name
        self.size = SIZES[name][split]
        self.strata: list[Stratum] = []
        self.lines: list[str] = []
        self._tests = tests
        self._recordings = [recording for test in tests for recording in test.recordings]
        self._samplers = [
            PairSampler(test, salt=f"mos-rmbench\0{VERSION}\0{seed}\0{test.name}") for test in tests
        ]
        self._places = list(itertools.product(range(len(tests)), CATEGORIES))
        # Where a test's recordings start when those of all tests follow each other.
        self._starts = np.cumsum([0, *(len(test.recordings) for test in tests)])[:-1]
        self._pairs = self._draw()

    @property
    def num_unusable(self) -> int:
        return sum(
            len(test.recordings) - len(sampler.usable)
            for test, sampler in zip(self._tests, self._samplers, strict=True)
        )

    def pairs(self) -> PairSet:
        return self._pair_set(self._pairs)

    def triplets(self) -> PairSet:
        wanted = NUM_TRIPLETS.get(self.name, DEFAULT_NUM_TRIPLETS)
        found = [
            self._samplers[test].sample_triplets(category, wanted)
            for test, category in self._places
        ]
        shares = share_out(wanted, [len(triplets) for triplets in found])
        pairs = [
            self._present(test, triplets[:share][:, [[0, 1], [1, 2], [0, 2]]].reshape(-1, 2))
            for (test, _), triplets, share in zip(self._places, found, shares, strict=True)
        ]
        return self._pair_set(np.concatenate(pairs))

    def _draw(self) -> Int[NDArray[np.int64], "pairs 2"]:
        samples = [
            self._samplers[test].sample(category, self.size) for test, category in self._places
        ]
        shares = share_out(self.size, [len(sample.pairs) for sample in samples])
        drawn = []
        for (test, category), sample, share in zip(self._places, samples, shares, strict=True):
            presented = self._present(test, sample.pairs[:share])
            drawn.append(presented)
            name = self._tests[test].name
            self.strata.append(Stratum(self.name, name, category, share, sample.num_possible))
            self.lines += [self._line(name, category, pair) for pair in presented]
        return np.concatenate(drawn)

    def _present(
        self, test: int, pairs: Int[NDArray[np.int64], "pairs 2"]
    ) -> Int[NDArray[np.int64], "pairs 2"]:
        """Swap half of the pairs, by their hash, and number recordings across tests."""
        sampler = self._samplers[test]
        ratings = sampler.ratings[pairs]
        better_first = np.where(ratings[:, :1] > ratings[:, 1:], pairs, pairs[:, ::-1])
        swapped = scramble(sampler.pair_hashes(pairs[:, 0], pairs[:, 1]) ^ _SWAP) & np.uint64(1)
        order = np.where(swapped[:, None] == 1, better_first[:, ::-1], better_first)
        presented: Int[NDArray[np.int64], "pairs 2"] = order + self._starts[test]
        return presented

    def _line(self, test: str, category: Category, pair: Int[NDArray[np.int64], " 2"]) -> str:
        first, second = (self._recordings[place] for place in pair)
        better = "first" if first.metrics["mos"] > second.metrics["mos"] else "second"
        return "\t".join([test, category, first.uid, second.uid, better])

    def _pair_set(self, pairs: Int[NDArray[np.int64], "pairs 2"]) -> PairSet:
        ratings = np.concatenate([test.ratings for test in self._tests])
        return PairSet(
            name=self.name,
            recordings=self._recordings,
            pairs=pairs,
            differences=ratings[pairs[:, 0]] - ratings[pairs[:, 1]],
            delta=0.0,
            unit="pair",
        )


def error_by_percentile(
    differences: Float[NDArray[np.float64], " pairs"],
    correct: Bool[NDArray[np.bool_], " pairs"],
    *,
    num_bins: int = NUM_BINS,
) -> Float[NDArray[np.float64], " bins"]:
    """Give the share of wrong pairs by bins of equal size, from the smallest ΔMOS up (Fig. 3).

    Args:
        differences: Rating of A minus rating of B; pairs of equal ΔMOS stay in their order.
        correct: Which pairs are right.
        num_bins: How many bins.

    Returns:
        Shares from 0 to 1; NaN for a bin without pairs.
    """
    order = np.argsort(np.abs(differences), kind="stable")
    bins = np.array_split(~correct[order], num_bins)
    return np.array([wrong.mean() if len(wrong) else np.nan for wrong in bins], dtype=float)


def at_most(
    differences: Float[NDArray[np.float64], " pairs"], gap: float
) -> Bool[NDArray[np.bool_], " pairs"]:
    """Mark pairs with ΔMOS ≤ gap (Fig. 4), both on the ratings' own scale."""
    chosen: Bool[NDArray[np.bool_], " pairs"] = np.abs(differences) <= gap + RATING_TOLERANCE
    return chosen


def below(
    differences: Float[NDArray[np.float64], " pairs"], gap: float
) -> Bool[NDArray[np.bool_], " pairs"]:
    """Mark pairs with ΔMOS < gap (Tables 6 and 7), both on the ratings' own scale."""
    chosen: Bool[NDArray[np.bool_], " pairs"] = np.abs(differences) < gap - RATING_TOLERANCE
    return chosen


def count_cycles(
    triplets: PairSet, preferences: Preferences
) -> Bool[NDArray[np.bool_], " triplets"]:
    """Say in which triplets the preferences run in a circle: A over B over C over A (Table 5).

    Args:
        triplets: Three pairs for each, as in ``Benchmark.triplets``.
        preferences: On all of these pairs.
    """
    toward_better = np.sign(preferences.leanings) * np.sign(triplets.differences)
    a_over_b, b_over_c, a_over_c = toward_better.reshape(-1, 3).T
    circle: Bool[NDArray[np.bool_], " triplets"] = (
        (a_over_b == b_over_c) & (a_over_c == -a_over_b) & (a_over_b != 0)
    )
    return circle
