import numpy as np
import pytest

from urgentmos.report.summary import ScoreSummary, summarise

stats = pytest.importorskip("scipy.stats", exc_type=ImportError)


def test_interval_is_that_of_scipy() -> None:
    scores = np.random.default_rng(0).normal(3, 0.7, 40).astype(np.float32)
    summary = summarise(scores)
    low, high = stats.t.interval(0.95, 39, scores.mean(), stats.sem(scores))
    assert (summary.low, summary.high) == pytest.approx((low, high), abs=1e-3)
    assert (summary.p5, summary.p95) == pytest.approx(tuple(np.percentile(scores, [5, 95])))


def test_one_recording_has_no_interval() -> None:
    summary = summarise(np.array([3.5], np.float32))
    assert (summary.n, summary.mean, summary.low, summary.high) == (1, 3.5, None, None)


def test_recordings_without_a_score_are_left_out() -> None:
    summary = ScoreSummary(["mos", "pesq"])
    for mos in (3.0, None, 4.0):
        summary.add({"path": "a.wav", "mos": mos, "pesq": None})
    assert summary.metrics()["mos"].n == 2
    assert "pesq" not in summary.metrics()
    assert summary.table().splitlines()[1].split() == [
        "mos", "2", "3.500", "-2.853…9.853", "3.050", "3.950",
    ]  # fmt: skip
