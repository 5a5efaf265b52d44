"""The tables of an evaluation on corpora with little in them."""

from collections.abc import Callable

import numpy as np
import pytest

from urgentmos.evaluation.bootstrap import Resampling
from urgentmos.evaluation.judges import Judges
from urgentmos.evaluation.pair_sets import build_pair_set, pair_rated_corpus
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
from urgentmos.evaluation.report import summary_table

LittleCorpus = Callable[..., RatedCorpus]
PredictPlace = Callable[..., ScorePredictor]

FEW = Resampling(20)


def test_a_predictor_that_does_not_vary_has_no_correlation_and_no_verdict_but_ties(
    little_corpus: LittleCorpus,
    predict_place: PredictPlace,
) -> None:
    corpus = little_corpus("a", "b", "c")
    flat = predict_place(corpus, constant=True)
    (row,) = rating_table([corpus], [flat], resampling=FEW).rows
    assert np.isnan([row["LCC"].value, row["SRCC"].value, row["KTAU"].value]).all()
    assert row["MSE"].value > 0
    (row,) = preference_table(
        [Judges(scorers=[flat]).answer(pair_rated_corpus(corpus))], resampling=FEW
    ).rows
    assert row["acc_0"].value == 0.0
    # Of the six pairs of one content, those of neighbours differ by 0.5: the listeners' ties.
    assert row["acc_δ"].value == pytest.approx(4 / 6)


def test_an_unrated_corpus_and_an_empty_set_of_pairs_have_no_numbers_and_no_error(
    little_corpus: LittleCorpus,
    predict_place: PredictPlace,
) -> None:
    corpus = little_corpus("a", "b", rated=())
    judges = Judges(scorers=[predict_place(corpus), ScorePredictor("q", {})])
    answers = [judges.answer(build_pair_set("none", []))]
    for table in (summary_table, rating_table, system_table, metric_table):
        arguments = (answers,) if table is summary_table else ()
        assert not table([corpus], judges.scorers, *arguments).rows
    assert not preference_difference_table(answers).rows
    assert sum(row["tie"] for row in confusion_table(answers).rows) == 0
    for row in preference_table(answers).rows:
        assert (row["pairs"], row["strict pairs"]) == (0, 0)
        assert np.isnan([row["acc_δ"].value, row["acc_0"].value]).all()
    assert not rating_difference_table([corpus], judges.scorers, resampling=FEW).rows


def test_who_scored_nothing_has_no_accuracy_and_is_compared_with_nobody(
    little_corpus: LittleCorpus,
    predict_place: PredictPlace,
) -> None:
    corpus = little_corpus("a", "b", "c")
    judges = Judges(scorers=[predict_place(corpus), ScorePredictor("silent", {})])
    answers = [judges.answer(pair_rated_corpus(corpus))]
    (_, silent) = preference_table(answers, resampling=FEW).rows
    assert silent["unanswered"] == silent["pairs"] > 0
    assert np.isnan([silent["acc_δ"].value, silent["acc_0"].value]).all()
    (_, silent) = summary_table([corpus], judges.scorers, answers).rows
    assert np.isnan(silent["acc_0 score"])
    (row,) = preference_difference_table(answers, resampling=FEW).rows
    assert np.isnan([row["acc_0"].value, row["acc_0"].p_value]).all()
