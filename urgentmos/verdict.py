"""The answers to which of two recordings is better, spelt alike in Python, tables and messages."""

from typing import Literal, get_args

Verdict = Literal["A better", "tie", "B better"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""In the class order of the preference head."""
