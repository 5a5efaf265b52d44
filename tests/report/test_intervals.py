import pytest

from urgentmos.report.intervals import t_quantile, wilson_interval

stats = pytest.importorskip("scipy.stats", exc_type=ImportError)


@pytest.mark.parametrize("degrees", [1, 2, 5, 10, 11, 30, 200, 10_000])
def test_t_quantile_is_that_of_scipy(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=2e-3)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (10, 10), (450, 1000)])
def test_wilson_interval_is_that_of_scipy(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx(tuple(expected), abs=1e-6)


def test_no_interval_of_a_share_leaves_0_to_1() -> None:
    for trials in range(1, 60):
        assert wilson_interval(0, trials)[0] >= 0.0
        assert wilson_interval(trials, trials)[1] <= 1.0


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        wilson_interval(0, 0)
