"""Whom ``urgentmos evaluate`` judges: models, label tools and columns of tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from urgentmos.cli.evaluate_peers import score_with_peers
from urgentmos.cli.progress import Failures, track
from urgentmos.data.manifest import Recording
from urgentmos.evaluation.judges import Judges
from urgentmos.evaluation.predictors import PreferenceComparer, ScorePredictor
from urgentmos.evaluation.score_tables import read_score_column
from urgentmos.model.assessor import Assessor
from urgentmos.scoring import score_files


def score_with_models(
    assessors: Mapping[str, Assessor], recordings: Sequence[Recording], failures: Failures
) -> list[ScorePredictor]:
    """Score every recording once with every model.

    Args:
        assessors: Models by the name they get in the tables.
        recordings: What to score.
        failures: Where recordings that could not be scored are told.

    Returns:
        One predictor per model and metric, named after the model.
    """
    paths = [recording.audio_path for recording in recordings]
    predictors: list[ScorePredictor] = []
    for name, assessor in assessors.items():
        rows = track(score_files(assessor, paths), total=len(paths), rows_on_stdout=False)
        scores: dict[str, dict[Path, float]] = {metric: {} for metric in assessor.metrics}
        for path, row in zip(paths, rows, strict=True):
            if row.status == "failed":
                failures.add(row.path, row.error)
            for metric, score in row.scores.items():
                scores[metric][path] = score
        predictors += [ScorePredictor(name, scores[metric], metric) for metric in assessor.metrics]
    return predictors


def gather_judges(
    assessors: Mapping[str, Assessor],
    predictors: Sequence[ScorePredictor],
    *,
    metric: str,
    beside: Sequence[ScorePredictor],
) -> Judges:
    """Put together who is asked about pairs: models first, then the others.

    Args:
        assessors: Models by name.
        predictors: Their scores.
        metric: Which of their metrics stands for quality.
        beside: Everybody else.
    """
    return Judges(
        comparers={
            name: PreferenceComparer(assessor)
            for name, assessor in assessors.items()
            if assessor.network.preference is not None
        },
        scorers=[predictor for predictor in predictors if predictor.metric == metric]
        + list(beside),
    )


def gather_others(
    recordings: Sequence[Recording],
    *,
    peers: Sequence[str],
    columns: Sequence[str],
    cache: Path | None,
    workers: int,
    failures: Failures,
) -> list[ScorePredictor]:
    """Score with label tools and read columns of tables.

    Args:
        recordings: What scores are wanted for.
        peers: Label tools, or metrics they give.
        columns: ``FILE.csv:COLUMN`` each.
        cache: Table that keeps the peers' scores; None without peers.
        workers: Processes for the peers.
        failures: Where recordings that a peer could not score are told.
    """
    from_peers = (
        score_with_peers(recordings, peers, cache=cache, workers=workers, failures=failures)
        if cache is not None
        else []
    )
    from_tables: dict[str, ScorePredictor] = {}
    for option in columns:
        table, colon, column = option.rpartition(":")
        if not colon:
            raise typer.BadParameter(f"--scores: expected FILE.csv:COLUMN, got {option!r}")
        from_tables[option] = read_score_column(table, column, recordings=recordings)
    if len({predictor.name for predictor in from_tables.values()}) < len(from_tables):
        # Tables of one name in several folders go by their paths.
        from_tables = {
            option: replace(predictor, name=option) for option, predictor in from_tables.items()
        }
    return [*from_peers, *from_tables.values()]
