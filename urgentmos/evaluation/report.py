"""The tables of an evaluation: every predictor on every corpus, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np

from urgentmos.evaluation.agreement import agreement
from urgentmos.evaluation.bootstrap import RESAMPLING, Resampling
from urgentmos.evaluation.pair_answers import PairAnswers, compared_by, strictly_correct
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.preference_report import (
    confusion_table,
    preference_difference_table,
    preference_table,
)
from urgentmos.evaluation.rating_report import (
    metric_table,
    rating_difference_table,
    rating_table,
    system_table,
)
from urgentmos.evaluation.ratings import RatedCorpus
from urgentmos.evaluation.tables import Cell, Table
from urgentmos.model.assessor import Assessor
from urgentmos.scoring.provenance import model_id


def evaluation_tables(
    corpora: Sequence[RatedCorpus],
    answers: Sequence[PairAnswers],
    *,
    scorers: Sequence[ScorePredictor],
    predictors: Sequence[ScorePredictor],
    resampling: Resampling = RESAMPLING,
) -> list[Table]:
    """Make every table, in the order in which they are read; some may stay without rows.

    Args:
        corpora: Rated or labelled recordings.
        answers: What was said about each set of pairs.
        scorers: One score of quality each: what is set against ratings.
        predictors: Predictions of any metric: what is set against its labels.
        resampling: Of the intervals.
    """
    return [
        summary_table(corpora, scorers, answers),
        rating_table(corpora, scorers, resampling=resampling),
        system_table(corpora, scorers, resampling=resampling),
        metric_table(corpora, predictors, resampling=resampling),
        preference_table(answers, resampling=resampling),
        confusion_table(answers),
        rating_difference_table(corpora, scorers, resampling=resampling),
        preference_difference_table(answers, resampling=resampling),
    ]


def summary_table(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    answers: Sequence[PairAnswers],
) -> Table:
    """Put the numbers that most people look for in one row per corpus and predictor."""
    table = Table(
        "Summary",
        "SRCC per file; acc_0 on pairs with different ratings, by comparing and by two scores.",
    )
    judged_by_name = {judged.pair_set.name: judged for judged in answers}
    for corpus in corpora:
        judged = judged_by_name.get(corpus.name)
        for predictor in predictors if not np.isnan(corpus.ratings).all() else ():
            scores = predictor.score(corpus.recordings)
            found = agreement(corpus.ratings, scores, resampling=Resampling(0))
            row: dict[str, Cell] = {"corpus": corpus.name, "predictor": predictor.name}
            row |= {"files": found.num_items, "SRCC": found.statistics["srcc"].value}
            if judged is not None:
                row["strict pairs"] = int(judged.pair_set.strict.sum())
                row["acc_0 compare"] = _strict_accuracy(judged, compared_by(predictor.name))
                row["acc_0 score"] = _strict_accuracy(judged, predictor.name)
            table.rows.append(row)
    return table


def model_table(assessors: Mapping[str, Assessor]) -> Table:
    """Say which models were judged, by their content.

    Args:
        assessors: Models by the name they have in the other tables.
    """
    table = Table("Models", "Content hash and version of this package.")
    for name, assessor in assessors.items():
        table.rows.append({"predictor": name, "model": model_id(assessor)})
    return table


def _strict_accuracy(judged: PairAnswers, name: str) -> float | None:
    if name not in judged.preferences or not judged.pair_set.strict.any():
        return None
    if not judged.preferences[name].has_answers:
        return float("nan")
    return float(strictly_correct(judged.pair_set, judged.preferences[name]).mean())
