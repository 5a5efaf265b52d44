"""What a run's rows say together, per metric."""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from urgentmos.report.intervals import t_quantile
from urgentmos.report.table import format_table


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


def _interval(summary: MetricSummary) -> str:
    if summary.low is None or summary.high is None:
        return ""
    return f"{summary.low:.3f}…{summary.high:.3f}"
