"""What predictors say about sets of pairs, and which of it listeners agree with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from urgentmos.evaluation.comparer import Compared
from urgentmos.evaluation.pair_sets import PairSet
from urgentmos.evaluation.preference import Preferences, correct_orders
from urgentmos.ndarray import NDArray


@dataclass(frozen=True)
class PairAnswers:
    """What several predictors say about one set of pairs.

    Attributes:
        pair_set: The pairs.
        preferences: By predictor.
        compared: What a comparison says in one order, by predictor that compares; two scores
            cannot depend on it.
    """

    pair_set: PairSet
    preferences: Mapping[str, Preferences]
    compared: Mapping[str, Compared] = field(default_factory=dict)


def compared_by(model: str) -> str:
    """Name of a model's preference head in the tables; its score goes by the model's name."""
    return f"{model}, compare"


def strictly_correct(
    pairs: PairSet, preferences: Preferences
) -> Bool[NDArray[np.bool_], " strict_pairs"]:
    """Say which strict pairs a predictor orders as listeners do.

    Args:
        pairs: All pairs of a set.
        preferences: What the predictor says about them.

    Returns:
        One for each of ``pairs.strict``: fewer than there are pairs, where listeners had ties.
    """
    return correct_orders(pairs.differences[pairs.strict], preferences.among(pairs.strict))
