"""The tables of an evaluation: every predictor on every corpus, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from urgentmos.correlation import srcc
from urgentmos.evaluation.agreement import Agreement, agreement, system_means
from urgentmos.evaluation.bootstrap import (
    RESAMPLING,
    Difference,
    Interval,
    Resampling,
    accuracy_difference,
    accuracy_interval,
    statistic_difference,
)
from urgentmos.evaluation.pair_sets import PairSet
from urgentmos.evaluation.predictors import Compared, ScorePredictor
from urgentmos.evaluation.preference import (
    NO_ANSWER,
    Preferences,
    confusion,
    correct_orders,
    correct_verdicts,
)
from urgentmos.evaluation.ratings import FIVE_POINT, RatedCorpus, is_known
from urgentmos.evaluation.tables import Cell, Table
from urgentmos.metrics import METRICS
from urgentmos.verdict import VERDICTS

MIN_SYSTEMS = 3
"""With fewer systems their correlation says nothing and is left out."""

_INTERVALS = "95 % bootstrap intervals in brackets."


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


def summary_table(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    answers: Sequence[PairAnswers],
) -> Table:
    """Put the numbers that most people look for in one row per corpus and predictor."""
    table = Table(
        "Summary",
        "SRCC per file; acc_0 on pairs with different ratings, by comparing and by two scores.",
    )
    judged_by_name = {judged.pair_set.name: judged for judged in answers}
    for corpus in corpora:
        judged = judged_by_name.get(corpus.name)
        for predictor in predictors if not np.isnan(corpus.ratings).all() else ():
            scores = predictor.score(recording.audio_path for recording in corpus.recordings)
            found = agreement(corpus.ratings, scores, resampling=Resampling(0))
            row: dict[str, Cell] = {"corpus": corpus.name, "predictor": predictor.name}
            row |= {"files": found.num_items, "SRCC": found.statistics["srcc"].value}
            if judged is not None:
                row["strict pairs"] = int(judged.pair_set.strict.sum())
                row["acc_0 compare"] = _strict_accuracy(judged, compared_by(predictor.name))
                row["acc_0 score"] = _strict_accuracy(judged, predictor.name)
            table.rows.append(row)
    return table


def rating_table(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Correlate scores with ratings per file."""
    table = Table(
        "Ratings per file",
        f"Correlations within a corpus, never across. MSE only where both are five-point scales. "
        f"{_INTERVALS}",
    )
    for corpus in corpora:
        ratings = corpus.ratings
        if np.isnan(ratings).all():
            continue
        for predictor in predictors:
            scores = predictor.score(recording.audio_path for recording in corpus.recordings)
            found = agreement(ratings, scores, resampling=resampling)
            table.rows.append(
                {"corpus": corpus.name, "predictor": predictor.name}
                | _agreement_cells(found, "files", with_mse=_on_five_points(corpus, predictor))
            )
    return table


def system_table(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Correlate mean scores with mean ratings per system.

    Recordings of no named system are left out, and so are corpora with fewer than ``MIN_SYSTEMS``
    systems to correlate, or with one recording of each.
    """
    table = Table("Ratings per system", f"Means over each system's files. {_INTERVALS}")
    for corpus in corpora:
        named = np.array([is_known(r.system_id) for r in corpus.recordings], dtype=bool)
        recordings = [r for r, keep in zip(corpus.recordings, named, strict=True) if keep]
        systems = [recording.system_id for recording in recordings]
        for predictor in predictors if len(set(systems)) < len(systems) else ():
            scores = predictor.score(recording.audio_path for recording in recordings)
            _, ratings, means = system_means(systems, corpus.ratings[named], scores)
            found = agreement(ratings, means, resampling=resampling)
            if found.num_items < MIN_SYSTEMS:
                continue
            table.rows.append(
                {"corpus": corpus.name, "predictor": predictor.name}
                | _agreement_cells(found, "systems", with_mse=_on_five_points(corpus, predictor))
            )
    return table


def metric_table(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Correlate each predicted metric with its own labels (UrgentMOS, Table 12).

    A corpus that has ratings only is left out: `rating_table` is about those.
    """
    table = Table("Metrics", f"Predicted against computed labels. {_INTERVALS}")
    for corpus in corpora:
        labelled = {metric for recording in corpus.recordings for metric in recording.metrics}
        for predictor in predictors if labelled != {"mos"} else ():
            if predictor.metric not in labelled:
                continue
            labels = corpus.labels(predictor.metric)
            scores = predictor.score(recording.audio_path for recording in corpus.recordings)
            found = agreement(labels, scores, resampling=resampling)
            table.rows.append(
                {"corpus": corpus.name, "predictor": predictor.name, "metric": predictor.metric}
                | _agreement_cells(found, "files", with_mse=True)
            )
    return table


def preference_table(
    answers: Sequence[PairAnswers],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Accuracy on pairs: with ties (acc_0.5) and in strict order (acc_0)."""
    table = Table(
        "Preferences",
        "acc_δ: three verdicts, a tie where listeners differ by at most δ. acc_0: strict pairs, "
        "whose ratings differ; right if ordered the same way, strictly: by P(A) against "
        "P(B) of a comparison, whatever P(tie), or by the two scores. A pair without an answer is "
        "wrong; who answers none has no accuracy. One order: a comparison of each pair as it is "
        f"given, where else both orders are averaged. {_INTERVALS}",
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


def rating_difference_table(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Compare the first predictor's SRCC with every other's on the same files."""
    table = Table(
        "SRCC differences",
        "First minus second on the files that both scored, paired bootstrap. Scores that fall with "
        "quality are negated first.",
    )
    for corpus in corpora:
        paths = [recording.audio_path for recording in corpus.recordings]
        for second in predictors[1:] if np.isfinite(corpus.ratings).any() else ():
            difference = statistic_difference(
                srcc,
                ratings=corpus.ratings,
                first=predictors[0].quality(paths),
                second=second.quality(paths),
                resampling=resampling,
            )
            table.rows.append(
                {
                    "corpus": corpus.name,
                    "first": predictors[0].name,
                    "second": second.name,
                    "SRCC": difference,
                }
            )
    return table


def preference_difference_table(
    answers: Sequence[PairAnswers],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Compare the first predictor's acc_0 with every other's on the same pairs."""
    table = Table(
        "Accuracy differences",
        "First minus second on the same strict pairs, paired bootstrap.",
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


def strictly_correct(pairs: PairSet, preferences: Preferences) -> Bool[NDArray[np.bool_], " pairs"]:
    """Say which strict pairs a predictor orders as listeners do."""
    return correct_orders(pairs.differences[pairs.strict], preferences.among(pairs.strict))


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


def _strict_accuracy(judged: PairAnswers, name: str) -> float | None:
    if name not in judged.preferences or not judged.pair_set.strict.any():
        return None
    if not judged.preferences[name].has_answers:
        return float("nan")
    return float(strictly_correct(judged.pair_set, judged.preferences[name]).mean())


def _agreement_cells(found: Agreement, items: str, *, with_mse: bool) -> dict[str, Cell]:
    statistics = found.statistics
    return {
        items: found.num_items,
        "missing": found.num_missing,
        "LCC": statistics["lcc"],
        "SRCC": statistics["srcc"],
        "KTAU": statistics["ktau"],
        "MSE": statistics["mse"] if with_mse else None,
    }


def _on_five_points(corpus: RatedCorpus, predictor: ScorePredictor) -> bool:
    metric = METRICS.get(predictor.metric)
    return corpus.scale == FIVE_POINT and metric is not None and metric.unit == "MOS"
