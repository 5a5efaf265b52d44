"""Agreement of a predictor with ratings, with its interval, per file and per system."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from urgentmos.correlation import STATISTICS, Vector
from urgentmos.evaluation.bootstrap import RESAMPLING, Interval, Resampling, percentile_interval
from urgentmos.ndarray import NDArray

# Sums in double precision keep more, and no rating or score means anything beyond.
_MEANINGFUL_DIGITS = 12


@dataclass(frozen=True)
class Agreement:
    """How one predictor agrees with one set of ratings.

    Attributes:
        num_items: Files (or systems) that have both a rating and a score.
        num_missing: Files (or systems) with a rating but no score.
        statistics: Each of ``STATISTICS`` with its interval.
    """

    num_items: int
    num_missing: int
    statistics: Mapping[str, Interval]


def agreement(ratings: Vector, scores: Vector, *, resampling: Resampling = RESAMPLING) -> Agreement:
    """Compare scores with ratings.

    Args:
        ratings: One number per file or system; NaN where not rated.
        scores: The predictions in the same order; NaN where the predictor failed. Those are left
            out of the statistics and counted in ``num_missing``.
        resampling: Of the 95 % intervals.
    """
    rated = ~np.isnan(ratings)
    usable = rated & ~np.isnan(scores)
    x, y = ratings[usable], scores[usable]
    drawn = list(resampling.draw(len(x)))
    return Agreement(
        num_items=len(x),
        num_missing=int(rated.sum() - usable.sum()),
        statistics={
            name: percentile_interval(
                statistic(x, y), np.array([statistic(x[i], y[i]) for i in drawn], dtype=float)
            )
            for name, statistic in STATISTICS.items()
        },
    )


def system_means(
    systems: Sequence[Hashable], ratings: Vector, scores: Vector
) -> tuple[
    list[Hashable], Float[NDArray[np.float64], " systems"], Float[NDArray[np.float64], " systems"]
]:
    """Average ratings and scores over each system's files.

    A file without a rating or a score counts for neither mean of its system. Means are rounded to
    12 digits: added in another order, or over another number of files, equal ones differ in the
    last digits of a double, and those of a predictor that never varies would correlate.

    Returns:
        The systems in order of first appearance, their mean ratings and their mean scores. Of a
        system that has ratings but no file with both, the rating is the mean over its rated files
        and the score NaN; both are NaN for a system without ratings.
    """
    names = list(dict.fromkeys(systems))
    place = {name: index for index, name in enumerate(names)}
    index = np.array([place[system] for system in systems], dtype=np.int64)
    rated = ~np.isnan(ratings)
    usable = rated & ~np.isnan(scores)

    def means(
        values: Vector, chosen: Bool[NDArray[np.bool_], " items"]
    ) -> Float[NDArray[np.float64], " systems"]:
        counts = np.bincount(index[chosen], minlength=len(names))
        sums = np.bincount(index[chosen], weights=values[chosen], minlength=len(names))
        return _rounded(np.divide(sums, counts, out=np.full(len(names), np.nan), where=counts > 0))

    mean_ratings = means(ratings, usable)
    mean_ratings = np.where(np.isnan(mean_ratings), means(ratings, rated), mean_ratings)
    return names, mean_ratings, means(scores, usable)


def _rounded(values: Vector) -> Vector:
    """Keep the digits that mean something, counted from the first of the largest value."""
    largest = np.max(np.abs(values), initial=0.0, where=~np.isnan(values))
    if largest == 0:
        return values
    decimals = _MEANINGFUL_DIGITS - math.ceil(math.log10(largest))
    rounded: Vector = np.round(values, decimals)
    return rounded
