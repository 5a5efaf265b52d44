"""Predictors of scores that are judged: of recordings, and of which of two is better."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from urgentmos.data.manifest import Recording
from urgentmos.evaluation.pair_sets import PairSet
from urgentmos.evaluation.preference import Preferences, preferences_from_scores
from urgentmos.evaluation.ratings import FIVE_POINT
from urgentmos.metrics import METRICS
from urgentmos.ndarray import NDArray
from urgentmos.scoring import Row


def by_file(recording: Recording) -> Path:
    """Name what a score without a reference is of."""
    return recording.audio_path


def by_reference(recording: Recording) -> tuple[Path, str | None]:
    """Name what a score beside a reference is of: a corpus may state another than others do."""
    return recording.audio_path, recording.meta.get("reference_path")


@dataclass(frozen=True)
class ScorePredictor:
    """Scores of recordings by one predictor.

    Attributes:
        name: As it stands in the tables.
        scores: Score by what ``key`` gives; what it failed on is absent or NaN.
        metric: Which metric the scores are: decides which way is better and what difference is a
            tie. Scores that are no known metric are taken as five-point ones.
        key: What of a recording its score is of: ``by_file`` or ``by_reference``.
    """

    name: str
    scores: Mapping[Any, float]
    metric: str = "mos"
    key: Callable[[Recording], Hashable] = by_file

    def score(self, recordings: Iterable[Recording]) -> Float[NDArray[np.float64], " recordings"]:
        """Scores in the order of some recordings; NaN where there is none."""
        return np.array([self.scores.get(self.key(r), np.nan) for r in recordings], dtype=float)

    def quality(self, recordings: Iterable[Recording]) -> Float[NDArray[np.float64], " recordings"]:
        """Scores of which more is better: negated where a metric falls with quality."""
        metric, scores = METRICS.get(self.metric), self.score(recordings)
        return -scores if metric is not None and not metric.higher_is_better else scores

    def prefer(self, pairs: PairSet, *, delta: float) -> Preferences:
        """Derive preferences from score differences.

        Args:
            pairs: Pairs to judge.
            delta: Largest difference on a five-point scale that is a tie; for a metric with
                another scale, the same share of that.
        """
        metric, scores = METRICS.get(self.metric), self.quality(pairs.recordings)
        if metric is not None and metric.unit != "MOS":
            delta *= metric.scale / (FIVE_POINT[1] - FIVE_POINT[0])
        return preferences_from_scores(scores, pairs.pairs, delta=delta)


def predictors_of_model(
    name: str, metrics: Sequence[str], paths: Sequence[Path], rows: Iterable[Row]
) -> list[ScorePredictor]:
    """Gather what a model scored.

    Args:
        name: Of the model; all its predictors go by it.
        metrics: Metrics that the model predicts.
        paths: Recordings.
        rows: Their rows, in the same order.

    Returns:
        One predictor per metric; a recording that failed has no score.

    Raises:
        ValueError: There are fewer or more rows than recordings.
    """
    scores: dict[str, dict[Path, float]] = {metric: {} for metric in metrics}
    for path, row in zip(paths, rows, strict=True):
        for metric, score in row.scores.items():
            scores[metric][path] = score
    return [ScorePredictor(name, scores[metric], metric) for metric in metrics]
