"""Preferences: three verdicts with a tie threshold, strict order, and how they are counted.

Two ways lead to a preference: a preference head gives P(A better), P(tie), P(B better); a predictor
of scores gives a difference, of which at most δ is a tie (UrgentMOS, Eq. 6). Both become
`Preferences`, and everything else is the same for both.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from urgentmos.data.pairs import RATING_TOLERANCE, preference
from urgentmos.ndarray import NDArray
from urgentmos.verdict import EQUAL_WITHIN

A_BETTER, TIE, B_BETTER, NO_ANSWER = 0, 1, 2, -1
"""Verdicts; the first three in the class order of the preference head."""

DELTA = 0.5
"""Tie threshold of UrgentMOS on a five-point scale."""


@dataclass(frozen=True)
class Preferences:
    """What one predictor says about each of some pairs.

    Attributes:
        verdicts: ``A_BETTER``, ``TIE``, ``B_BETTER``, or ``NO_ANSWER`` where a recording of the
            pair could not be scored.
        leanings: Positive where A, negative where B is held to be better, however slightly; 0
            where neither is, NaN without an answer.
    """

    verdicts: Int[NDArray[np.int64], " pairs"]
    leanings: Float[NDArray[np.float64], " pairs"]

    @property
    def has_answers(self) -> bool:
        """Whether anything is said about any pair; without, there is no accuracy either."""
        return bool(np.any(self.verdicts != NO_ANSWER))

    def among(self, chosen: Bool[NDArray[np.bool_], " pairs"]) -> "Preferences":
        """Keep some of the pairs."""
        return Preferences(self.verdicts[chosen], self.leanings[chosen])


def verdicts_from_differences(
    differences: Float[NDArray[np.float64], " pairs"], *, delta: float
) -> Int[NDArray[np.int64], " pairs"]:
    """Turn differences into verdicts: a tie where at most δ apart (UrgentMOS, Eq. 6).

    Args:
        differences: A minus B, more being better; NaN where one of them is missing.
        delta: Largest difference that is a tie, on the same scale.

    Returns:
        ``A_BETTER``, ``TIE`` or ``B_BETTER``; ``NO_ANSWER`` where the difference is NaN.
    """
    # +1, 0, -1 for A, tie, B become 0, 1, 2.
    verdicts = TIE - preference(differences, delta=delta)
    verdicts[np.isnan(differences)] = NO_ANSWER
    return verdicts


def preferences_from_scores(
    scores: Float[NDArray[np.float64], " recordings"],
    pairs: Int[NDArray[np.int64], "pairs 2"],
    *,
    delta: float = DELTA,
) -> Preferences:
    """Derive preferences from the scores of the two recordings of each pair.

    Args:
        scores: Higher is better; NaN where the predictor failed.
        pairs: The two recordings of each pair, as places in ``scores``.
        delta: Largest difference that is a tie.
    """
    differences = scores[pairs[:, 0]] - scores[pairs[:, 1]]
    return Preferences(verdicts_from_differences(differences, delta=delta), differences)


def preferences_from_probabilities(
    probabilities: Float[NDArray[np.float64], "pairs 3"],
) -> Preferences:
    """Read preferences off the probabilities of A better, tie and B better.

    The verdict is the likeliest class; where A and B are equally likely it is a tie, so that the
    order of the pair never matters (``verdict_of`` says the same of one pair). The leaning is
    P(A) - P(B): it orders the pair strictly even where the verdict is a tie.
    """
    a, tie, b = probabilities.T
    leanings = np.where(np.abs(a - b) <= EQUAL_WITHIN, 0.0, a - b)
    verdicts = np.full(len(probabilities), TIE)
    verdicts[(a > tie) & (leanings > 0)] = A_BETTER
    verdicts[(b > tie) & (leanings < 0)] = B_BETTER
    verdicts[np.isnan(probabilities).any(axis=1)] = NO_ANSWER
    return Preferences(verdicts, np.where(verdicts == NO_ANSWER, np.nan, leanings))


def _check_labels(labels: Int[NDArray[np.int64], " pairs"]) -> None:
    # Compared with a missing answer it would count as right.
    if np.any(labels == NO_ANSWER):
        raise ValueError(
            f"expected a verdict of the listeners on each of {len(labels)} pairs, got "
            f"{int(np.sum(labels == NO_ANSWER))} without; leave pairs without ratings out"
        )


def correct_verdicts(
    labels: Int[NDArray[np.int64], " pairs"], preferences: Preferences
) -> Bool[NDArray[np.bool_], " pairs"]:
    """Say which verdicts are right, ties among them: their mean is acc_δ.

    Args:
        labels: Verdicts of the listeners.
        preferences: The predictor's; a pair without an answer is a wrong answer.

    Raises:
        ValueError: A pair has no label.
    """
    _check_labels(labels)
    correct: Bool[NDArray[np.bool_], " pairs"] = labels == preferences.verdicts
    return correct


def correct_orders(
    differences: Float[NDArray[np.float64], " pairs"], preferences: Preferences
) -> Bool[NDArray[np.bool_], " pairs"]:
    """Say which pairs are strictly ordered as listeners order them: their mean is acc_0.

    Args:
        differences: Rating of A minus rating of B; ties must be left out before.
        preferences: The predictor's. Only the leaning counts: a leaning of exactly 0, or none, is
            wrong.

    Raises:
        ValueError: A difference is 0 or NaN.
    """
    if np.any(np.abs(differences) <= RATING_TOLERANCE) or np.isnan(differences).any():
        raise ValueError("expected pairs with different ratings, got a tie or a missing rating")
    correct: Bool[NDArray[np.bool_], " pairs"] = np.sign(differences) == np.sign(
        preferences.leanings
    )
    return correct


def confusion(
    labels: Int[NDArray[np.int64], " pairs"], preferences: Preferences
) -> Int[NDArray[np.int64], "3 3"]:
    """Count verdicts (columns) for each label (rows), both in the order A better, tie, B better.

    Args:
        labels: Verdicts of the listeners.
        preferences: The predictor's; pairs without an answer are in no column.

    Raises:
        ValueError: A pair has no label.
    """
    _check_labels(labels)
    table = np.zeros((3, 3), dtype=np.int64)
    answered = preferences.verdicts != NO_ANSWER
    np.add.at(table, (labels[answered], preferences.verdicts[answered]), 1)
    return table


def order_consistency(forward: Preferences, backward: Preferences) -> float:
    """Share of pairs whose verdict mirrors when the pair is given the other way round.

    Args:
        forward: Preferences on the pairs (A, B).
        backward: On the same pairs as (B, A).
    """
    if not len(forward.verdicts):
        return float("nan")
    answered = (forward.verdicts != NO_ANSWER) & (backward.verdicts != NO_ANSWER)
    mirrored = forward.verdicts == B_BETTER - backward.verdicts
    return float(np.mean(answered & mirrored))
