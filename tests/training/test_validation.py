import numpy as np
import pytest

from urgentmos.training.validation import correlation, rank_correlation


def test_correlations_equal_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 12, size=60).astype(float)  # with ties
    y = x + rng.normal(size=60) * 4
    assert correlation(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


@pytest.mark.parametrize("x", [[1.0], [2.0, 2.0]])
def test_a_correlation_that_does_not_exist_is_nan(x: list[float]) -> None:
    assert np.isnan(correlation(np.array(x), np.arange(len(x), dtype=float)))
