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


def test_equal_system_means_are_tied_whatever_was_added_up() -> None:
    """A third of 0.1 + 0.1 + 0.1 is not the double 0.1; 1.0 + 1.2 + 1.1 not 1.1 + 1.2 + 1.0."""
    systems = ["a", "a", "a", "b", *["c"] * 7]
    _, _, scores = system_means(systems, np.arange(11.0), np.full(11, 0.1))
    assert len(set(scores.tolist())) == 1
    ratings = np.array([1.0, 1.2, 1.1, 1.1, 1.2, 1.0])
    _, means, _ = system_means([*"aaabbb"], ratings, np.arange(6.0))
    assert means[0] == means[1]
    assert sum(ratings[:3]) != sum(ratings[3:])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_predictor_that_never_varies_does_not_correlate_per_system(scale: float) -> None:
    systems = ["a", "a", "a", "b", *["c"] * 7]
    _, ratings, scores = system_means(systems, np.arange(11.0), np.full(11, 0.1 * scale))
    found = agreement(ratings, scores, resampling=Resampling(0)).statistics
    assert np.isnan([found[name].value for name in ("lcc", "srcc", "ktau")]).all()


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_different_system_means_stay_apart_at_any_scale(scale: float) -> None:
    scores = scale * np.array([1.0, 1.0 + 1e-8, 1.0 - 1e-8])
    _, _, means = system_means([*"abc"], np.arange(3.0), scores)
    assert np.argsort(means).tolist() == [2, 0, 1]
