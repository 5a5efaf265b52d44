"""What a run's rows say together: per metric, and over pairs."""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from urgentmos.report.table import format_table

_Z = 1.959964
# Student's t, two-sided 95 %, for 1 to 10 degrees of freedom; beyond, the expansion below is exact
# to 0.002.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class MetricSummary:
    """Scores of many recordings on one metric.

    Attributes:
        n: Recordings.
        mean: Mean score.
        low: Lower end of the 95 % interval of the mean (Student's t); None for one recording.
        high: Upper end.
        p5: 5th percentile.
        p95: 95th percentile.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p5: float
    p95: float


class ScoreSummary:
    """Collects scores, four bytes each, and sums them up.

    Args:
        metrics: Metrics, in the order of the table.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self._scores = {metric: array("f") for metric in metrics}

    def add(self, scores: Mapping[str, object]) -> None:
        """Take in the scores of one recording; metrics without a number are left out."""
        for metric, collected in self._scores.items():
            score = scores.get(metric)
            if isinstance(score, float | int):
                collected.append(score)

    def metrics(self) -> dict[str, MetricSummary]:
        """Sum up each metric that has scores."""
        return {
            metric: summarise(np.frombuffer(scores, np.float32))
            for metric, scores in self._scores.items()
            if scores
        }

    def table(self) -> str:
        """Lay out the summary for reading."""
        rows = [
            [metric, str(s.n), f"{s.mean:.3f}", _interval(s), f"{s.p5:.3f}", f"{s.p95:.3f}"]
            for metric, s in self.metrics().items()
        ]
        return format_table(["metric", "n", "mean", "95 % interval", "5th pct", "95th pct"], rows)


def summarise(scores: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> MetricSummary:
    """Sum up one metric.

    Raises:
        ValueError: There are no scores.
    """
    n = len(scores)
    if n == 0:
        raise ValueError("there are no scores to sum up")
    values = scores.astype(np.float64)
    mean = float(values.mean())
    half = t_quantile(n - 1) * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    p5, p95 = np.percentile(values, [5, 95])
    return MetricSummary(
        n=n,
        mean=mean,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        p5=float(p5),
        p95=float(p95),
    )


def t_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t (Abramowitz and Stegun, 26.7.5)."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    z, v = _Z, degrees
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + first + second + third


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927).

    Raises:
        ValueError: There are no trials.
    """
    if trials < 1:
        raise ValueError("a share of nothing has no interval")
    share = successes / trials
    centre = share + _Z**2 / (2 * trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    scale = 1 + _Z**2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _interval(summary: MetricSummary) -> str:
    if summary.low is None or summary.high is None:
        return ""
    return f"{summary.low:.3f}…{summary.high:.3f}"
