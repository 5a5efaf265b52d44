import itertools

import numpy as np
import pytest

from urgentmos.evaluation.preference import preferences_from_probabilities
from urgentmos.verdict import EQUAL_WITHIN, VERDICTS, Verdict, verdict_of


@pytest.mark.parametrize(
    ("probabilities", "verdict"),
    [
        ((0.6, 0.2, 0.2), "A better"),
        ((0.2, 0.2, 0.6), "B better"),
        ((0.3, 0.4, 0.3), "tie"),
        ((0.45, 0.1, 0.45), "tie"),
        ((0.45 + 0.4 * EQUAL_WITHIN, 0.1, 0.45 - 0.4 * EQUAL_WITHIN), "tie"),
        ((0.45 + EQUAL_WITHIN, 0.1, 0.45 - EQUAL_WITHIN), "A better"),
        ((0.35, 0.4, 0.25), "tie"),
        ((0.4, 0.4, 0.2), "tie"),
    ],
)
def test_the_verdict_is_the_most_probable_class_and_mirrors(
    probabilities: tuple[float, float, float], verdict: Verdict
) -> None:
    assert verdict_of(*probabilities) == verdict
    assert verdict_of(*reversed(probabilities)) == VERDICTS[2 - VERDICTS.index(verdict)]


@pytest.mark.parametrize("place", range(3))
def test_what_is_no_probability_has_no_verdict(place: int) -> None:
    probabilities = [0.2, 0.3, 0.5]
    probabilities[place] = np.nan
    with pytest.raises(ValueError, match=r"expected three probabilities, got .*nan"):
        verdict_of(*probabilities)


def test_one_pair_and_many_pairs_get_the_same_verdicts() -> None:
    steps = np.linspace(0, 1, 21)
    rows = np.array([(a, 1 - a - b, b) for a, b in itertools.product(steps, steps) if a + b <= 1])
    found = preferences_from_probabilities(rows).verdicts
    assert [VERDICTS[verdict] for verdict in found] == [verdict_of(*row) for row in rows.tolist()]
