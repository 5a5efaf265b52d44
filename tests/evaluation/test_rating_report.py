from collections.abc import Callable
from dataclasses import replace

import pytest

from urgentmos.evaluation.bootstrap import Resampling
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.rating_report import (
    metric_table,
    rating_difference_table,
    rating_table,
    system_table,
)
from urgentmos.evaluation.ratings import RatedCorpus

LittleCorpus = Callable[..., RatedCorpus]
PredictPlace = Callable[..., ScorePredictor]

FEW = Resampling(20)


def test_systems_are_correlated_by_their_means(
    little_corpus: LittleCorpus,
    predict_place: PredictPlace,
) -> None:
    corpus = little_corpus("a", "b", "c")
    (row,) = system_table([corpus], [predict_place(corpus)], resampling=FEW).rows
    assert (row["systems"], row["missing"]) == (3, 0)
    assert row["LCC"].value == pytest.approx(1.0)


def test_a_system_on_which_a_predictor_failed_is_missing(
    little_corpus: LittleCorpus,
    predict_place: PredictPlace,
) -> None:
    corpus = little_corpus("a", "b", "c", "d")
    (row,) = system_table([corpus], [predict_place(corpus, fails_on="b")], resampling=FEW).rows
    assert (row["systems"], row["missing"]) == (3, 1)


@pytest.mark.parametrize(
    ("systems", "rated"),
    [
        (("a", "b"), None),
        (("a", "b", "c", "d"), ("a", "b")),
        (("a", "b", "-"), None),
        (("-",), None),
    ],
    ids=["two systems", "two rated", "two named", "none named"],
)
def test_too_few_systems_are_not_correlated(
    little_corpus: LittleCorpus,
    predict_place: PredictPlace,
    systems: tuple[str, ...],
    rated: tuple[str, ...] | None,
) -> None:
    corpus = little_corpus(*systems, rated=rated)
    assert not system_table([corpus], [predict_place(corpus)], resampling=FEW).rows


def test_systems_of_one_recording_each_are_not_correlated(
    little_corpus: LittleCorpus, predict_place: PredictPlace
) -> None:
    corpus = RatedCorpus("little", little_corpus("a", "b", "c").recordings[::2])
    assert not system_table([corpus], [predict_place(corpus)], resampling=FEW).rows


def test_a_score_that_falls_with_quality_differs_in_nothing_from_one_that_rises(
    little_corpus: LittleCorpus,
    predict_place: PredictPlace,
) -> None:
    corpus = little_corpus("a", "b", "c")
    rising = predict_place(corpus)
    falling = ScorePredictor("f", {path: -x for path, x in rising.scores.items()}, metric="lsd")
    (row,) = rating_difference_table([corpus], [rising, falling], resampling=FEW).rows
    assert row["SRCC"].value == 0.0


def test_a_difference_says_on_how_many_files_it_is(
    little_corpus: LittleCorpus,
    predict_place: PredictPlace,
) -> None:
    corpus = little_corpus("a", "b", "c")
    second = predict_place(corpus, fails_on="b")
    (row,) = rating_difference_table([corpus], [predict_place(corpus), second], resampling=FEW).rows
    assert (len(corpus.recordings), row["files"]) == (6, 4)


def test_squared_errors_are_between_numbers_on_one_scale(
    little_corpus: LittleCorpus, predict_place: PredictPlace
) -> None:
    recordings = [
        replace(recording, metrics={**recording.metrics, "pesq": 2.0 + place / 10})
        for place, recording in enumerate(little_corpus("a", "b", "c").recordings)
    ]
    mos = predict_place(RatedCorpus("little", recordings))
    both = [mos, replace(mos, metric="pesq")]
    for scale, has_mse in (((1.0, 5.0), True), ((0.0, 100.0), False)):
        corpus = RatedCorpus("little", recordings, scale)
        (rated,) = rating_table([corpus], [mos], resampling=FEW).rows
        rows = {row["metric"]: row for row in metric_table([corpus], both, resampling=FEW).rows}
        assert (rated["MSE"] is not None) == (rows["mos"]["MSE"] is not None) == has_mse
        assert rows["pesq"]["MSE"] is not None
