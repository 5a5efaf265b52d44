import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urgentmos.correlation import STATISTICS, ktau, lcc, mean_ranks, mse, srcc

stats = pytest.importorskip("scipy.stats")

few_values = st.lists(
    st.tuples(st.integers(0, 5), st.integers(-3, 3)), min_size=3, max_size=40
).filter(lambda rows: len({x for x, _ in rows}) > 1 and len({y for _, y in rows}) > 1)


@given(few_values)
@settings(max_examples=60, deadline=None)
def test_correlations_with_many_ties_equal_scipy(rows: list[tuple[int, int]]) -> None:
    x, y = np.array(rows, dtype=float).T
    assert lcc(x, y) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-9)
    assert srcc(x, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-9)
    assert ktau(x, y) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-9)


def test_ktau_of_a_large_set_equals_scipy() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=5000)
    y = np.round(x + generator.normal(size=5000), 1)
    assert ktau(x, y) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)


def test_ktau_of_100_000_items_overflows_nowhere() -> None:
    # The product of its two counts of pairs has more than 64 bits.
    items = np.arange(100_000.0)
    assert ktau(items, items) == pytest.approx(1.0)


def test_an_item_of_weight_two_counts_as_two_items() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 30))
    times = rng.integers(1, 4, 30)
    repeated = lcc(x.repeat(times), y.repeat(times))
    assert abs(repeated - lcc(x, y)) > 0.01
    assert lcc(x, y, times.astype(float)) == pytest.approx(repeated)


@pytest.mark.parametrize("statistic", ["lcc", "srcc", "ktau"])
def test_two_items_agree_or_disagree(statistic: str) -> None:
    ratings = np.array([1.0, 3.0])
    assert STATISTICS[statistic](ratings, np.array([2.0, 2.5])) == pytest.approx(1.0)
    assert STATISTICS[statistic](ratings, np.array([2.5, 2.0])) == pytest.approx(-1.0)


def test_ktau_by_hand() -> None:
    # Pairs of (1, 2, 3, 4) with (1, 3, 2, 4): five concordant, one discordant.
    ratings, scores = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])
    assert ktau(ratings, scores) == pytest.approx(4 / 6)


@pytest.mark.parametrize("num_items", range(2, 12))
def test_no_ktau_lies_beyond_1(num_items: int) -> None:
    x = np.arange(float(num_items))
    assert (ktau(x, x), ktau(x, -x)) == (1.0, -1.0)


def test_mean_ranks_shares_places_among_equals() -> None:
    assert mean_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_correlation_of_values_close_together_is_that_of_the_values_apart() -> None:
    x, y = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    assert lcc(1e-100 * x, 1e-100 * y) == pytest.approx(lcc(x, y))


def test_mse_by_hand() -> None:
    assert mse(np.array([1.0, 2.0]), np.array([2.0, 4.0])) == pytest.approx(2.5)


@pytest.mark.parametrize("statistic", ["lcc", "srcc", "ktau"])
@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [1.0], []])
def test_correlation_with_what_does_not_vary_is_undefined(
    statistic: str, values: list[float]
) -> None:
    other = np.arange(len(values), dtype=float)
    assert np.isnan(STATISTICS[statistic](np.array(values), other))
    assert np.isnan(STATISTICS[statistic](other, np.array(values)))
