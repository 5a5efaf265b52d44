"""Which of two recordings is better: three answers, spelt alike in Python, tables and messages."""

import math
from typing import Literal, get_args

Verdict = Literal["A better", "tie", "B better"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""In the class order of the preference head."""

EQUAL_WITHIN = 1e-6
"""Two probabilities of float32 that are equal in exact arithmetic differ by less than this."""


def verdict_of(p_a: float, p_tie: float, p_b: float) -> Verdict:
    """Name the most probable of A better, tie and B better; a tie where A and B are equal.

    Raises:
        ValueError: One of the probabilities is NaN.
    """
    if math.isnan(p_a + p_tie + p_b):
        raise ValueError(f"expected three probabilities, got {p_a}, {p_tie} and {p_b}")
    if abs(p_a - p_b) <= EQUAL_WITHIN or p_tie >= max(p_a, p_b):
        return "tie"
    return "A better" if p_a > p_b else "B better"
