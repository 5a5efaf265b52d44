"""Bootstrap: intervals of a statistic, and whether two predictors on the same items differ."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from urgentmos.ndarray import NDArray

Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""A number that says how two series agree, as in ``correlation.STATISTICS``."""

Unit = Literal["recording", "pair"]
"""What is drawn again when pairs are resampled.

Pairs made of rated recordings share their recordings and are not independent: draw recordings, and
each pair counts as often as both its members were drawn. Pairs that were judged as such, and pairs
sampled from a corpus, are drawn themselves, and what comes out is spread by as much as the
recordings that recur among them ask for (see ``_spread``).
"""


@dataclass(frozen=True)
class Resampling:
    """How often to draw again, and from which seed.

    Attributes:
        num_resamples: Bootstrap resamples; 0 for no intervals (their ends are then NaN).
        seed: Of the drawing: the same seed draws the same items for every predictor.
    """

    num_resamples: int = 1000
    seed: int = 0

    def draw(self, num_items: int) -> Iterator[Int[NDArray[np.int64], " n"]]:
        """Draw items with replacement, again and again; nothing where there is no item."""
        generator = np.random.default_rng(self.seed)
        for _ in range(self.num_resamples if num_items else 0):
            yield generator.integers(0, num_items, num_items)


RESAMPLING = Resampling()

# Share of the resamples that an interval holds.
_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval.

    Attributes:
        value: The statistic on the data as they are.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much one predictor's statistic exceeds another's on the same items.

    Attributes:
        value: First minus second.
        low: Lower end of the interval of the difference.
        high: Upper end.
        p_value: Two-sided: twice the share of resamples on the other side of 0, at least
            2 / (resamples + 1); NaN without resamples.
    """

    value: float
    low: float
    high: float
    p_value: float


def percentile_interval(
    value: float, resampled: Float[NDArray[np.float64], " resamples"]
) -> Interval:
    """Put the 95 % percentile interval of resampled statistics around a value.

    Args:
        value: The statistic on the data as they are.
        resampled: The statistic on each resample; those where it is undefined (NaN, as the
            correlation of one file drawn over and over) are left out.

    Returns:
        The interval; without a defined resample its ends are NaN.
    """
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(value, float(low), float(high))


def paired_difference(
    value: float, resampled: Float[NDArray[np.float64], " resamples"]
) -> Difference:
    """Judge a difference by its resamples, made with the same draws for both predictors.

    Args:
        value: First minus second on the data as they are.
        resampled: The same on each resample; NaN where it is undefined.
    """
    interval = percentile_interval(value, resampled)
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return Difference(value, interval.low, interval.high, float("nan"))
    beyond = min(int(np.sum(defined <= 0)), int(np.sum(defined >= 0)))
    p_value = min(1.0, 2 * (beyond + 1) / (len(defined) + 1))
    return Difference(value, interval.low, interval.high, p_value)


def statistic_difference(
    statistic: Statistic,
    *,
    ratings: Float[NDArray[np.float64], " items"],
    first: Float[NDArray[np.float64], " items"],
    second: Float[NDArray[np.float64], " items"],
    resampling: Resampling = RESAMPLING,
) -> Difference:
    """Compare two predictors by a statistic against the same ratings.

    Args:
        statistic: One of ``correlation.STATISTICS``.
        ratings: Rating per item; items where it or a score is NaN are left out for both.
        first: Scores of the first predictor.
        second: Scores of the second predictor.
        resampling: How often to draw, and from which seed.
    """
    usable = ~(np.isnan(ratings) | np.isnan(first) | np.isnan(second))
    x, a, b = ratings[usable], first[usable], second[usable]
    differences = [statistic(x[i], a[i]) - statistic(x[i], b[i]) for i in resampling.draw(len(x))]
    return paired_difference(statistic(x, a) - statistic(x, b), np.array(differences, dtype=float))


def pair_weights(
    pairs: Int[NDArray[np.int64], "pairs 2"], *, unit: Unit, resampling: Resampling
) -> Iterator[Float[NDArray[np.float64], " pairs"]]:
    """Say how often each pair counts in each resample.

    Args:
        pairs: The two recordings of each pair, as numbers.
        unit: What is drawn.
        resampling: How often to draw, and from which seed.

    Yields:
        How often each pair counts, once per resample.
    """
    num_units = len(pairs) if unit == "pair" else int(pairs.max(initial=-1)) + 1
    for drawn in resampling.draw(num_units):
        counts = np.bincount(drawn, minlength=num_units).astype(float)
        yield counts if unit == "pair" else counts[pairs[:, 0]] * counts[pairs[:, 1]]


def accuracy_interval(
    correct: Bool[NDArray[np.bool_], " pairs"],
    pairs: Int[NDArray[np.int64], "pairs 2"],
    *,
    unit: Unit,
    resampling: Resampling = RESAMPLING,
) -> Interval:
    """Give the share of correct pairs with its 95 % interval; NaN without pairs.

    Args:
        correct: Which pairs are right.
        pairs: The two recordings of each pair, as numbers.
        unit: What is drawn.
        resampling: How often to draw, and from which seed.
    """
    if not len(correct):
        return Interval(float("nan"), float("nan"), float("nan"))
    resampled = _resampled_means(correct.astype(float), pairs, unit=unit, resampling=resampling)
    return percentile_interval(float(correct.mean()), np.clip(resampled, 0.0, 1.0))


def accuracy_difference(
    first: Bool[NDArray[np.bool_], " pairs"],
    second: Bool[NDArray[np.bool_], " pairs"],
    pairs: Int[NDArray[np.int64], "pairs 2"],
    *,
    unit: Unit,
    resampling: Resampling = RESAMPLING,
) -> Difference:
    """Compare two predictors by the pairs that each got right.

    Args:
        first: Which pairs the first predictor got right.
        second: The same of the second.
        pairs: The two recordings of each pair, as numbers.
        unit: What is drawn.
        resampling: How often to draw, and from which seed.

    Raises:
        ValueError: There are no pairs.
    """
    if not len(first):
        raise ValueError("expected at least one pair to compare two predictors on, got none")
    gain = first.astype(float) - second.astype(float)
    resampled = _resampled_means(gain, pairs, unit=unit, resampling=resampling)
    return paired_difference(float(gain.mean()), np.clip(resampled, -1.0, 1.0))


def _resampled_means(
    values: Float[NDArray[np.float64], " pairs"],
    pairs: Int[NDArray[np.int64], "pairs 2"],
    *,
    unit: Unit,
    resampling: Resampling,
) -> Float[NDArray[np.float64], " resamples"]:
    weights = pair_weights(pairs, unit=unit, resampling=resampling)
    resampled = np.array([weighted_mean(values, weight) for weight in weights], dtype=float)
    spread = _spread(values, pairs) if unit == "pair" else 1.0
    # Where no recording recurs, the means stay as they are to the bit: some are exactly 0.
    return resampled if spread == 1.0 else values.mean() + spread * (resampled - values.mean())


def _spread(
    values: Float[NDArray[np.float64], " pairs"], pairs: Int[NDArray[np.int64], "pairs 2"]
) -> float:
    """Standard error of the mean over pairs, as a multiple of that of independent pairs.

    Pairs that share a recording go together: a recording that is hard to judge is so in all its
    pairs. The variance of their mean is estimated from the products of the residuals of all pairs
    that share one (Aronow, Samii and Assenova 2015, Political Analysis 23:564), never below that
    of independent pairs.

    Args:
        values: What is averaged.
        pairs: The two recordings of each pair, as numbers.
    """
    residuals = values - values.mean()
    independent = float(residuals @ residuals)
    if independent == 0:
        return 1.0
    of_recordings = np.bincount(pairs.ravel(), weights=np.repeat(residuals, 2))
    _, number = np.unique(np.sort(pairs, axis=1), axis=0, return_inverse=True)
    of_pairs = np.bincount(number.ravel(), weights=residuals)
    # Two pairs that share both recordings are among the products of either: counted once.
    shared = float(of_recordings @ of_recordings - of_pairs @ of_pairs)
    return math.sqrt(max(1.0, shared / independent))


def weighted_mean(
    values: Float[NDArray[np.float64], " pairs"], weights: Float[NDArray[np.float64], " pairs"]
) -> float:
    """Average values by weight; NaN where nothing weighs anything."""
    total = weights.sum()
    return float(values @ weights / total) if total else float("nan")
