"""The tables of an evaluation on corpora with little in them."""

from pathlib import Path

import numpy as np
import pytest

from urgentmos.data.manifest import Recording
from urgentmos.evaluation.bootstrap import Resampling
from urgentmos.evaluation.judges import Judges
from urgentmos.evaluation.pair_sets import build_pair_set, pair_rated_corpus
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.ratings import RatedCorpus
from urgentmos.evaluation.report import (
    confusion_table,
    metric_table,
    preference_difference_table,
    preference_table,
    rating_difference_table,
    rating_table,
    summary_table,
    system_table,
)

FEW = Resampling(20)


def _corpus(*systems: str, rated: tuple[str, ...] | None = None) -> RatedCorpus:
    """Two recordings of each system, rated by their place, of the systems that are rated."""
    return RatedCorpus(
        "little",
        [
            Recording(
                Path(f"{number}.wav"), f"u{number}", system, f"r{number % 2}", 1.0,
                {"mos": 1 + number / 4} if rated is None or system in rated else {},
            )
            for number, system in enumerate(sorted(systems * 2))
        ],
    )  # fmt: skip


def _predictor(
    corpus: RatedCorpus, *, fails_on: str = "", constant: bool = False
) -> ScorePredictor:
    scores = {
        recording.audio_path: 3.0 if constant else float(place)
        for place, recording in enumerate(corpus.recordings)
        if recording.system_id != fails_on
    }
    return ScorePredictor("p", scores)


def test_systems_are_correlated_by_their_means() -> None:
    corpus = _corpus("a", "b", "c")
    (row,) = system_table([corpus], [_predictor(corpus)], resampling=FEW).rows
    assert (row["systems"], row["missing"]) == (3, 0)
    assert row["LCC"].value == pytest.approx(1.0)


def test_a_system_on_which_a_predictor_failed_is_missing() -> None:
    corpus = _corpus("a", "b", "c", "d")
    (row,) = system_table([corpus], [_predictor(corpus, fails_on="b")], resampling=FEW).rows
    assert (row["systems"], row["missing"]) == (3, 1)


@pytest.mark.parametrize(
    "corpus",
    [
        _corpus("a", "b"),
        _corpus("a", "b", "c", "d", rated=("a", "b")),
        _corpus("a", "b", "-"),
        _corpus("-"),
        RatedCorpus("little", _corpus("a", "b", "c").recordings[::2]),
    ],
    ids=["two systems", "two rated", "two named", "none named", "one recording of each"],
)
def test_too_few_systems_are_not_correlated(corpus: RatedCorpus) -> None:
    assert not system_table([corpus], [_predictor(corpus)], resampling=FEW).rows


def test_a_score_that_falls_with_quality_differs_in_nothing_from_one_that_rises() -> None:
    corpus = _corpus("a", "b", "c")
    rising = _predictor(corpus)
    falling = ScorePredictor("f", {path: -x for path, x in rising.scores.items()}, metric="lsd")
    (row,) = rating_difference_table([corpus], [rising, falling], resampling=FEW).rows
    assert row["SRCC"].value == 0.0


def test_a_predictor_that_does_not_vary_has_no_correlation_and_no_verdict_but_ties() -> None:
    corpus = _corpus("a", "b", "c")
    flat = _predictor(corpus, constant=True)
    (row,) = rating_table([corpus], [flat], resampling=FEW).rows
    assert np.isnan([row["LCC"].value, row["SRCC"].value, row["KTAU"].value]).all()
    assert row["MSE"].value > 0
    (row,) = preference_table(
        [Judges(scorers=[flat]).answer(pair_rated_corpus(corpus))], resampling=FEW
    ).rows
    assert row["acc_0"].value == 0.0
    # Of the six pairs of one content, those of neighbours differ by 0.5: the listeners' ties.
    assert row["acc_δ"].value == pytest.approx(4 / 6)


def test_an_unrated_corpus_and_an_empty_set_of_pairs_have_no_numbers_and_no_error() -> None:
    corpus = _corpus("a", "b", rated=())
    judges = Judges(scorers=[_predictor(corpus), ScorePredictor("q", {})])
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


def test_who_scored_nothing_has_no_accuracy_and_is_compared_with_nobody() -> None:
    corpus = _corpus("a", "b", "c")
    judges = Judges(scorers=[_predictor(corpus), ScorePredictor("silent", {})])
    answers = [judges.answer(pair_rated_corpus(corpus))]
    (_, silent) = preference_table(answers, resampling=FEW).rows
    assert silent["unanswered"] == silent["pairs"] > 0
    assert np.isnan([silent["acc_δ"].value, silent["acc_0"].value]).all()
    (_, silent) = summary_table([corpus], judges.scorers, answers).rows
    assert np.isnan(silent["acc_0 score"])
    (row,) = preference_difference_table(answers, resampling=FEW).rows
    assert np.isnan([row["acc_0"].value, row["acc_0"].p_value]).all()
