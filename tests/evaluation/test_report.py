"""The tables of an evaluation on corpora with little in them."""

from collections.abc import Callable

import numpy as np
import pytest

from urgentmos.evaluation.bootstrap import Resampling
from urgentmos.evaluation.judges import Judges
from urgentmos.evaluation.mos_rmbench_report import accuracy_tables
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
from urgentmos.evaluation.report import evaluation_tables, summary_table
from urgentmos.evaluation.tables import to_markdown

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


@pytest.mark.parametrize("num_resamples", [0, 20])
def test_notes_speak_of_brackets_where_there_are_some(
    little_corpus: LittleCorpus, predict_place: PredictPlace, num_resamples: int
) -> None:
    corpus = little_corpus("a", "b", "c")
    predictors = [predict_place(corpus), ScorePredictor("other", predict_place(corpus).scores)]
    answers = [Judges(scorers=predictors).answer(pair_rated_corpus(corpus))]
    resampling = Resampling(num_resamples)
    tables = evaluation_tables(
        [corpus], answers, scorers=predictors, predictors=predictors, resampling=resampling
    )
    tables += accuracy_tables(answers, resampling=resampling)
    speaking = {table.title for table in tables if "bootstrap" in table.note}
    assert len(speaking) == (9 if num_resamples else 0)
    # Some have few rows or none here.
    bracketed = {table.title for table in tables if "[" in to_markdown(table)}
    assert bracketed <= speaking
    assert len(bracketed) == (7 if num_resamples else 0)
