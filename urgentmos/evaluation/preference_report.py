"""The tables of an evaluation on pairs."""

from collections.abc import Sequence

import numpy as np

from urgentmos.evaluation.bootstrap import (
    RESAMPLING,
    Difference,
    Interval,
    Resampling,
    accuracy_difference,
    accuracy_interval,
)
from urgentmos.evaluation.pair_answers import PairAnswers, strictly_correct
from urgentmos.evaluation.pair_sets import PairSet
from urgentmos.evaluation.preference import (
    NO_ANSWER,
    Preferences,
    confusion,
    correct_verdicts,
)
from urgentmos.evaluation.tables import Cell, Table, where_resampled, with_intervals
from urgentmos.verdict import VERDICTS


def preference_table(
    answers: Sequence[PairAnswers],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Accuracy on pairs: with ties (acc_0.5) and in strict order (acc_0)."""
    table = Table(
        "Preferences",
        with_intervals(
            "acc_δ: three verdicts, a tie where listeners differ by at most δ. acc_0: strict "
            "pairs, whose ratings differ; right if ordered the same way, strictly: by P(A) against "
            "P(B) of a comparison, whatever P(tie), or by the two scores. A pair without an answer "
            "is wrong; who answers none has no accuracy. One order: a comparison of each pair as "
            "it is given, where else both orders are averaged.",
            resampling,
        ),
        percent=(
            "acc_δ",
            "acc_0",
            "acc_δ, one order",
            "acc_0, one order",
            "order consistency",
        ),
    )
    for judged in answers:
        pairs = judged.pair_set
        for name, preferences in judged.preferences.items():
            row: dict[str, Cell] = {"corpus": pairs.name, "predictor": name}
            row["pairs"] = len(pairs.pairs)
            row["unanswered"] = int(np.sum(preferences.verdicts == NO_ANSWER))
            row["δ"] = f"{pairs.delta:g}"
            row["acc_δ"] = _acc_delta(pairs, preferences, resampling)
            row["strict pairs"] = int(pairs.strict.sum())
            row["acc_0"] = _acc_0(pairs, preferences, resampling)
            if (compared := judged.compared.get(name)) is not None:
                row["acc_δ, one order"] = _acc_delta(pairs, compared.one_order, resampling)
                row["acc_0, one order"] = _acc_0(pairs, compared.one_order, resampling)
                row["order consistency"] = compared.consistency
            table.rows.append(row)
    return table


def confusion_table(answers: Sequence[PairAnswers]) -> Table:
    """Count each verdict for each verdict of the listeners."""
    table = Table("Confusion", "Rows: what listeners found. Columns: what the predictor said.")
    for judged in answers:
        for name, preferences in judged.preferences.items():
            counts = confusion(judged.pair_set.labels, preferences)
            for label, row in zip(VERDICTS, counts.tolist(), strict=True):
                table.rows.append(
                    {"corpus": judged.pair_set.name, "predictor": name, "listeners": label}
                    | dict(zip(VERDICTS, row, strict=True))
                )
    return table


def preference_difference_table(
    answers: Sequence[PairAnswers],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Compare the first predictor's acc_0 with every other's on the same pairs."""
    paired = where_resampled(", paired bootstrap", resampling)
    table = Table(
        "Accuracy differences",
        f"First minus second on the same strict pairs{paired}.",
        percent=("acc_0",),
    )
    for judged in answers:
        pairs, strict = judged.pair_set, judged.pair_set.strict
        first, *others = judged.preferences
        for second in others if strict.any() else ():
            both = judged.preferences[first], judged.preferences[second]
            difference = (
                accuracy_difference(
                    strictly_correct(pairs, both[0]),
                    strictly_correct(pairs, both[1]),
                    pairs.pairs[strict],
                    unit=pairs.unit,
                    resampling=resampling,
                )
                if all(preferences.has_answers for preferences in both)
                else Difference(np.nan, np.nan, np.nan, np.nan)
            )
            table.rows.append(
                {"corpus": pairs.name, "first": first, "second": second, "acc_0": difference}
            )
    return table


def _acc_delta(pairs: PairSet, preferences: Preferences, resampling: Resampling) -> Interval:
    if not preferences.has_answers:
        return Interval(np.nan, np.nan, np.nan)
    correct = correct_verdicts(pairs.labels, preferences)
    return accuracy_interval(correct, pairs.pairs, unit=pairs.unit, resampling=resampling)


def _acc_0(pairs: PairSet, preferences: Preferences, resampling: Resampling) -> Interval:
    if not preferences.has_answers:
        return Interval(np.nan, np.nan, np.nan)
    correct, members = strictly_correct(pairs, preferences), pairs.pairs[pairs.strict]
    return accuracy_interval(correct, members, unit=pairs.unit, resampling=resampling)
