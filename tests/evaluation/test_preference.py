from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urgentmos.evaluation.preference import (
    A_BETTER,
    B_BETTER,
    NO_ANSWER,
    TIE,
    confusion,
    correct_orders,
    correct_verdicts,
    order_consistency,
    preferences_from_probabilities,
    preferences_from_scores,
    verdicts_from_differences,
)

PAIRS = np.array([[0, 1], [1, 2], [0, 3]])


def test_difference_of_exactly_delta_is_a_tie_on_both_sides() -> None:
    differences = np.array([2.2 - 1.7, 1.7 - 2.2, 0.51, -0.51, np.nan])
    assert differences[0] > 0.5  # in binary
    verdicts = verdicts_from_differences(differences, delta=0.5)
    assert verdicts.tolist() == [TIE, TIE, A_BETTER, B_BETTER, NO_ANSWER]


def test_scores_give_verdicts_and_leanings() -> None:
    preferences = preferences_from_scores(np.array([3.0, 3.25, 1.0, np.nan]), PAIRS)
    assert preferences.verdicts.tolist() == [TIE, A_BETTER, NO_ANSWER]
    assert preferences.leanings[:2].tolist() == [-0.25, 2.25]
    assert np.isnan(preferences.leanings[2])


def test_probabilities_of_a_against_b_equally_likely_are_a_tie() -> None:
    preferences = preferences_from_probabilities(
        np.array([[0.4, 0.2, 0.4], [0.5, 0.2, 0.3], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    )
    assert preferences.verdicts.tolist() == [TIE, A_BETTER, TIE, B_BETTER]
    assert np.sign(preferences.leanings).tolist() == [0, 1, -1, -1]


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=30))
@settings(deadline=None)
def test_swapping_a_pair_mirrors_its_verdict(rows: list[tuple[int, int, int]]) -> None:
    forward = np.array(rows, dtype=float) + 0.1
    backward = forward[:, ::-1]
    assert (
        order_consistency(
            preferences_from_probabilities(forward), preferences_from_probabilities(backward)
        )
        == 1.0
    )


def test_order_consistency_counts_pairs_that_keep_their_verdict_when_swapped() -> None:
    always_a = preferences_from_probabilities(np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]))
    mirrored = preferences_from_probabilities(np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
    assert order_consistency(always_a, mirrored) == 0.5


def test_strict_order_counts_equal_scores_and_missing_answers_as_wrong() -> None:
    preferences = preferences_from_scores(np.array([2.0, 2.0, 1.0, np.nan]), PAIRS)
    assert correct_orders(np.array([0.1, 0.2, 1.0]), preferences).tolist() == [False, True, False]


def test_strict_order_refuses_pairs_that_listeners_tied() -> None:
    preferences = preferences_from_scores(np.array([2.0, 2.0, 1.0, 1.0]), PAIRS)
    with pytest.raises(ValueError, match="got a tie"):
        correct_orders(np.array([0.1, 0.0, 1.0]), preferences)


def test_strict_order_uses_the_leaning_even_where_the_verdict_is_a_tie() -> None:
    preferences = preferences_from_probabilities(np.array([[0.3, 0.5, 0.2]]))
    assert preferences.verdicts.tolist() == [TIE]
    assert correct_orders(np.array([1.0]), preferences).tolist() == [True]


def test_confusion_by_hand() -> None:
    preferences = preferences_from_probabilities(
        np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [np.nan] * 3])
    )
    labels = np.array([A_BETTER, A_BETTER, B_BETTER, TIE])
    assert confusion(labels, preferences).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert correct_verdicts(labels, preferences).tolist() == [True, False, False, False]


def test_the_threshold_moves_the_predictors_ties_and_not_the_labels() -> None:
    labels = np.array([A_BETTER, TIE])
    scores, pairs = np.array([3.0, 2.0, 2.7]), np.array([[0, 1], [0, 2]])
    accuracies = [
        correct_verdicts(labels, preferences_from_scores(scores, pairs, delta=delta)).mean()
        for delta in (0.0, 0.5, 1.0)
    ]
    assert accuracies == [0.5, 1.0, 0.5]


@pytest.mark.parametrize("count", [correct_verdicts, confusion])
def test_a_pair_without_a_label_is_refused(count: Callable[..., object]) -> None:
    preferences = preferences_from_scores(np.array([3.0, np.nan]), PAIRS[:1])
    with pytest.raises(ValueError, match="each of 1 pairs, got 1 without"):
        count(np.array([NO_ANSWER]), preferences)
