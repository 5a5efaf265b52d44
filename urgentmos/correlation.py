"""How scores go with ratings: MSE, LCC, SRCC and Kendall's tau-b."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from urgentmos.ndarray import NDArray

Vector = Float[NDArray[np.float64], " items"]


def mse(ratings: Vector, scores: Vector) -> float:
    """Mean squared error; NaN without items."""
    return float(np.mean((scores - ratings) ** 2)) if len(ratings) else float("nan")


def lcc(ratings: Vector, scores: Vector, weights: Vector | None = None) -> float:
    """Pearson's linear correlation, of weighted items if weighted; NaN where a side is constant."""
    if len(ratings) < 2 or np.ptp(ratings) == 0 or np.ptp(scores) == 0:
        return float("nan")
    x, y = (side - np.average(side, weights=weights) for side in (ratings, scores))
    if weights is not None:
        x, y = x * np.sqrt(weights), y * np.sqrt(weights)
    # Roots apart: the product of two small sums of squares would be 0.
    return float(np.clip(x @ y / (np.sqrt(x @ x) * np.sqrt(y @ y)), -1.0, 1.0))


def srcc(ratings: Vector, scores: Vector) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN where one side does not vary."""
    return lcc(mean_ranks(ratings), mean_ranks(scores))


def ktau(ratings: Vector, scores: Vector) -> float:
    """Kendall's tau-b; NaN where one side does not vary.

    Counted after sorting in O(n log² n), so that a corpus of 100,000 files is no matter (Knight
    1966, JASA 61:436).
    """
    x, y = _dense_ranks(ratings), _dense_ranks(scores)
    num_pairs = len(x) * (len(x) - 1) // 2
    tied_x, tied_y = _tied_pairs(x), _tied_pairs(y)
    if num_pairs in (tied_x, tied_y):
        return float("nan")
    tied_both = _tied_pairs(x * (len(x) + 1) + y)
    discordant = _count_inversions(y[np.lexsort((y, x))])
    concordant = num_pairs - tied_x - tied_y + tied_both - discordant
    # The root of Python's whole numbers, exact at any size: perfect agreement is 1, no less.
    return (concordant - discordant) / math.sqrt((num_pairs - tied_x) * (num_pairs - tied_y))


STATISTICS: dict[str, Callable[[Vector, Vector], float]] = {
    "mse": mse,
    "lcc": lcc,
    "srcc": srcc,
    "ktau": ktau,
}
"""Every statistic by name: ``statistic(ratings, scores)``."""


def mean_ranks(values: Vector) -> Vector:
    """Rank values from 1, equal values sharing the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Vector = (last - (counts - 1) / 2.0)[inverse]
    return shared


def _dense_ranks(values: Vector) -> Int[NDArray[np.int64], " items"]:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _tied_pairs(ranks: Int[NDArray[np.int64], " items"]) -> int:
    counts = np.unique(ranks, return_counts=True)[1].astype(np.int64)
    return int(np.sum(counts * (counts - 1) // 2))


def _count_inversions(ranks: Int[NDArray[np.int64], " items"]) -> int:
    """Count pairs in which the larger value comes first, one bit of the values at a time.

    Two values first differ at some bit. Among values equal in all higher bits, the pair is inverted
    exactly when the 1 stands before the 0.
    """
    total = 0
    for bit in range(int(ranks.max(initial=0)).bit_length()):
        prefix = ranks >> (bit + 1)
        order = np.argsort(prefix, kind="stable")
        ones = (ranks[order] >> bit) & 1
        ones_before = np.cumsum(ones) - ones
        starts = np.flatnonzero(np.diff(prefix[order], prepend=-1))
        lengths = np.diff(np.append(starts, len(ranks)))
        ones_in_group = ones_before - np.repeat(ones_before[starts], lengths)
        total += int(ones_in_group[ones == 0].sum())
    return total
