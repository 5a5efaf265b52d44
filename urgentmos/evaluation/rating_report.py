"""The tables of an evaluation on rated and labelled recordings."""

from collections.abc import Sequence

import numpy as np

from urgentmos.correlation import srcc
from urgentmos.data.recording import is_known
from urgentmos.evaluation.agreement import Agreement, agreement, system_means
from urgentmos.evaluation.bootstrap import RESAMPLING, Resampling, statistic_difference
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.ratings import FIVE_POINT, RatedCorpus
from urgentmos.evaluation.tables import Cell, Table, where_resampled, with_intervals
from urgentmos.metrics import METRICS

MIN_SYSTEMS = 3
"""With fewer systems their correlation says nothing and is left out."""


def rating_table(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Correlate scores with ratings per file."""
    table = Table(
        "Ratings per file",
        with_intervals(
            "Correlations within a corpus, never across. MSE only where both are five-point "
            "scales.",
            resampling,
        ),
    )
    for corpus in corpora:
        ratings = corpus.ratings
        if np.isnan(ratings).all():
            continue
        for predictor in predictors:
            scores = predictor.score(corpus.recordings)
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
    table = Table(
        "Ratings per system", with_intervals("Means over each system's files.", resampling)
    )
    for corpus in corpora:
        named = np.array([is_known(r.system_id) for r in corpus.recordings], dtype=bool)
        recordings = [r for r, keep in zip(corpus.recordings, named, strict=True) if keep]
        systems = [recording.system_id for recording in recordings]
        for predictor in predictors if len(set(systems)) < len(systems) else ():
            scores = predictor.score(recordings)
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
    table = Table("Metrics", with_intervals("Predicted against computed labels.", resampling))
    for corpus in corpora:
        labelled = {metric for recording in corpus.recordings for metric in recording.metrics}
        for predictor in predictors if labelled != {"mos"} else ():
            if predictor.metric not in labelled:
                continue
            labels = corpus.labels(predictor.metric)
            scores = predictor.score(corpus.recordings)
            found = agreement(labels, scores, resampling=resampling)
            # Labels are in their metric's unit, ratings on the scale of their test.
            with_mse = predictor.metric != "mos" or corpus.scale == FIVE_POINT
            table.rows.append(
                {"corpus": corpus.name, "predictor": predictor.name, "metric": predictor.metric}
                | _agreement_cells(found, "files", with_mse=with_mse)
            )
    return table


def rating_difference_table(
    corpora: Sequence[RatedCorpus],
    predictors: Sequence[ScorePredictor],
    *,
    resampling: Resampling = RESAMPLING,
) -> Table:
    """Compare the first predictor's SRCC with every other's on the same files."""
    paired = where_resampled(", paired bootstrap", resampling)
    table = Table(
        "SRCC differences",
        f"First minus second on the files that both scored{paired}. Scores that fall with quality "
        "are negated first.",
    )
    for corpus in corpora:
        ratings = corpus.ratings
        for second in predictors[1:] if np.isfinite(ratings).any() else ():
            first = predictors[0].quality(corpus.recordings)
            scores = first, second.quality(corpus.recordings)
            difference = statistic_difference(
                srcc, ratings=ratings, first=scores[0], second=scores[1], resampling=resampling
            )
            table.rows.append(
                {
                    "corpus": corpus.name,
                    "first": predictors[0].name,
                    "second": second.name,
                    "files": int(np.isfinite([ratings, *scores]).all(axis=0).sum()),
                    "SRCC": difference,
                }
            )
    return table


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
