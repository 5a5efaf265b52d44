import numpy as np
import pytest

from urgentmos.report.summary import ScoreSummary, summarise, t_quantile, wilson_interval

stats = pytest.importorskip("scipy.stats", exc_type=ImportError)


@pytest.mark.parametrize("degrees", [1, 2, 5, 10, 11, 30, 200, 10_000])
def test_t_quantile_is_that_of_scipy(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=2e-3)


def test_interval_is_that_of_scipy() -> None:
    scores = np.random.default_rng(0).normal(3, 0.7, 40).astype(np.float32)
    summary = summarise(scores)
    low, high = stats.t.interval(0.95, 39, scores.mean(), stats.sem(scores))
    assert (summary.low, summary.high) == pytest.approx((low, high), abs=1e-3)
    assert (summary.p5, summary.p95) == pytest.approx(tuple(np.percentile(scores, [5, 95])))


def test_one_recording_has_no_interval() -> None:
    summary = summarise(np.array([3.5], np.float32))
    assert (summary.n, summary.mean, summary.low, summary.high) == (1, 3.5, None, None)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (10, 10), (450, 1000)])
def test_wilson_interval_is_that_of_scipy(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx(tuple(expected), abs=1e-6)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        wilson_interval(0, 0)


def test_recordings_without_a_score_are_left_out() -> None:
    summary = ScoreSummary(["mos", "pesq"])
    for mos in (3.0, None, 4.0):
        summary.add({"path": "a.wav", "mos": mos, "pesq": None})
    assert summary.metrics()["mos"].n == 2
    assert "pesq" not in summary.metrics()
    assert summary.table().splitlines()[1].split() == [
        "mos", "2", "3.500", "-2.853…9.853", "3.050", "3.950",
    ]  # fmt: skip
