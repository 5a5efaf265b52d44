import numpy as np
import pytest

from urgentmos.correlation import lcc
from urgentmos.evaluation.agreement import agreement, system_means
from urgentmos.evaluation.bootstrap import Resampling, percentile_interval


def test_agreement_counts_files_the_predictor_failed_on() -> None:
    ratings = np.array([1.0, 2.0, 3.0, np.nan])
    result = agreement(ratings, np.array([1.5, np.nan, 3.5, 4.0]), resampling=Resampling(0))
    assert (result.num_items, result.num_missing) == (2, 1)
    assert result.statistics["mse"].value == pytest.approx(0.25)


def test_bootstrap_interval_covers_the_true_correlation_nineteen_times_in_twenty() -> None:
    generator = np.random.default_rng(1)
    covered = []
    for seed in range(60):
        x = generator.normal(size=120)
        y = 0.8 * x + 0.6 * generator.normal(size=120)  # correlation 0.8
        resampled = [lcc(x[i], y[i]) for i in Resampling(200, seed).draw(120)]
        interval = percentile_interval(lcc(x, y), np.array(resampled))
        assert interval.low <= interval.value <= interval.high
        covered.append(interval.low <= 0.8 <= interval.high)
    assert 0.85 <= np.mean(covered) <= 1.0


def test_agreement_is_the_same_for_the_same_seed() -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 30))
    assert agreement(x, y, resampling=Resampling(50)) == agreement(x, y, resampling=Resampling(50))


def test_system_means_leave_out_files_without_a_score() -> None:
    names, ratings, scores = system_means(
        ["a", "b", "a", "b", "c"],
        np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        np.array([2.0, 2.0, 4.0, np.nan, np.nan]),
    )
    assert names == ["a", "b", "c"]
    # c has a rating and no score: it is missing, as a file would be.
    assert ratings.tolist() == [2.0, 2.0, 5.0]
    assert scores[:2].tolist() == [3.0, 2.0]
    assert np.isnan(scores[2])
