"""The tables of MOS-RMBench: accuracy per dataset and overall, by ΔMOS, and on triplets."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from urgentmos.evaluation.bootstrap import RESAMPLING, Resampling, accuracy_interval
from urgentmos.evaluation.mos_rmbench import (
    NUM_BINS,
    Benchmark,
    at_most,
    below,
    count_cycles,
    error_by_percentile,
)
from urgentmos.evaluation.pair_answers import PairAnswers
from urgentmos.evaluation.preference import correct_orders
from urgentmos.evaluation.preference_report import preference_difference_table
from urgentmos.evaluation.tables import Cell, Table, with_intervals
from urgentmos.ndarray import NDArray

Gaps = Float[NDArray[np.float64], " pairs"]
Chosen = Bool[NDArray[np.bool_], " pairs"]


def benchmark_tables(
    benchmark: Benchmark,
    on_pairs: Sequence[PairAnswers],
    on_triplets: Sequence[PairAnswers],
    *,
    resampling: Resampling = RESAMPLING,
) -> list[Table]:
    """Make every table of MOS-RMBench.

    Args:
        benchmark: Pairs and triplets.
        on_pairs: What was said about the pairs of each dataset.
        on_triplets: What was said about the triplets of each dataset.
        resampling: Of the intervals.
    """
    return [
        composition_table(benchmark),
        *accuracy_tables(on_pairs, resampling=resampling),
        percentile_table(on_pairs),
        *triplet_tables(on_triplets),
        preference_difference_table(on_pairs, resampling=resampling),
    ]


def composition_table(benchmark: Benchmark) -> Table:
    """Say where the pairs come from, and what is missing from the sizes of Table 1."""
    table = Table("Pairs", f"Digest of the pair list: {benchmark.digest}")
    table.rows += [
        {
            "dataset": stratum.dataset,
            "listening test": stratum.test,
            "same": stratum.category,
            "pairs": stratum.num_pairs,
            "possible": stratum.num_possible,
        }
        for stratum in benchmark.strata
    ]
    for name, pairs in benchmark.pair_sets.items():
        table.rows.append(
            {
                "dataset": name,
                "listening test": "all",
                "pairs": len(pairs.pairs),
                "Table 1": benchmark.wanted[name],
                "unusable recordings": benchmark.num_unusable[name],
            }
        )
    return table


def accuracy_tables(
    answers: Sequence[PairAnswers], *, resampling: Resampling = RESAMPLING
) -> list[Table]:
    """Accuracy on all pairs and on those with a small ΔMOS (Tables 2, 6 and 7, Fig. 4)."""
    subsets: dict[str, Callable[[Gaps], Chosen]] = {
        "MOS-RMBench accuracy": lambda gaps: np.ones(len(gaps), dtype=bool),
        "MOS-RMBench accuracy, ΔMOS at most 0.5": lambda gaps: at_most(gaps, 0.5),
        "MOS-RMBench accuracy, ΔMOS below 0.2": lambda gaps: below(gaps, 0.2),
    }
    return [
        _accuracy_table(title, answers, choose, resampling) for title, choose in subsets.items()
    ]


def percentile_table(answers: Sequence[PairAnswers]) -> Table:
    """Error rate by percentile of ΔMOS within each dataset (Fig. 3)."""
    table = Table(
        "MOS-RMBench errors by ΔMOS percentile",
        "Share of pairs in the wrong order, in bins of equal size from the smallest ΔMOS.",
        percent=_bin_names(),
    )
    for judged in answers:
        for name, preferences in judged.preferences.items():
            errors = (
                error_by_percentile(judged.pair_set.differences, _correct(judged, name))
                if preferences.has_answers
                else np.full(NUM_BINS, np.nan)
            )
            row: dict[str, Cell] = {"dataset": judged.pair_set.name, "predictor": name}
            table.rows.append(row | dict(zip(_bin_names(), errors.tolist(), strict=True)))
    return table


def triplet_tables(answers: Sequence[PairAnswers]) -> list[Table]:
    """Pair accuracy on triplets and how often preferences run in a circle (Tables 4 and 5)."""
    accuracy, cycles = Table("MOS-RMBench triplet accuracy"), Table("MOS-RMBench cycle rate")
    for table, judge in ((accuracy, _correct), (cycles, _in_circle)):
        table.note = "Per cent. Scores can never run in a circle; comparisons can."
        for name in _predictors(answers):
            judged_by_dataset = {j.pair_set.name: judge(j, name) for j in answers}
            unanswered = _unanswered(answers, name)
            table.rows.append({"predictor": name} | _shares(judged_by_dataset) | unanswered)
        table.percent = _share_columns(answers)
    return [accuracy, cycles]


def _accuracy_table(
    title: str,
    answers: Sequence[PairAnswers],
    choose: Callable[[Gaps], Chosen],
    resampling: Resampling,
) -> Table:
    table = Table(
        title,
        with_intervals(
            "Per cent of pairs with S(chosen) > S(rejected), strictly; overall over all pairs. A "
            "dataset of which a predictor scored nothing has no number, and then overall has none.",
            resampling,
        ),
        percent=_share_columns(answers),
    )
    chosen = {judged.pair_set.name: choose(judged.pair_set.differences) for judged in answers}
    table.rows.append(
        {"predictor": "(pairs)"}
        | {name: int(which.sum()) for name, which in chosen.items()}
        | {"Overall": sum(int(which.sum()) for which in chosen.values())}
    )
    members = _pairs_together(answers, chosen)
    for name in _predictors(answers):
        correct = {
            judged.pair_set.name: _correct(judged, name)[chosen[judged.pair_set.name]]
            for judged in answers
        }
        together = np.concatenate(list(correct.values()))
        overall = accuracy_interval(together, members, unit="pair", resampling=resampling)
        shares = _shares(correct) | {"Overall": overall} | _unanswered(answers, name)
        table.rows.append({"predictor": name} | shares)
    return table


def _pairs_together(
    answers: Sequence[PairAnswers], chosen: Mapping[str, NDArray[np.bool_]]
) -> Int[NDArray[np.int64], "pairs 2"]:
    """Number the recordings of all datasets one after the other, and give the chosen pairs."""
    sets = [judged.pair_set for judged in answers]
    starts = np.cumsum([0, *(len(pairs.recordings) for pairs in sets)])
    return np.concatenate(
        [
            pairs.pairs[chosen[pairs.name]] + start
            for pairs, start in zip(sets, starts, strict=False)
        ]
    )


def _shares(by_dataset: dict[str, Chosen]) -> dict[str, Cell]:
    shares: dict[str, Cell] = {
        name: float(values.mean()) if len(values) else float("nan")
        for name, values in by_dataset.items()
    }
    together = np.concatenate(list(by_dataset.values()))
    return shares | {"Overall": float(together.mean()) if len(together) else float("nan")}


def _unanswered(answers: Sequence[PairAnswers], name: str) -> dict[str, Cell]:
    """Give no number for datasets of which a predictor scored nothing, nor for all together."""
    # Of a dataset without pairs there was nothing to say.
    asked = [j for j in answers if len(j.pair_set.pairs)]
    silent = [j.pair_set.name for j in asked if not j.preferences[name].has_answers]
    # The pairs of a dataset that has no number must not count as wrong in that of all.
    return dict.fromkeys([*silent, "Overall"] if silent else [], float("nan"))


def _correct(judged: PairAnswers, name: str) -> Chosen:
    return correct_orders(judged.pair_set.differences, judged.preferences[name])


def _in_circle(judged: PairAnswers, name: str) -> Chosen:
    return count_cycles(judged.pair_set, judged.preferences[name])


def _predictors(answers: Sequence[PairAnswers]) -> list[str]:
    return list(dict.fromkeys(name for judged in answers for name in judged.preferences))


def _share_columns(answers: Sequence[PairAnswers]) -> list[str]:
    return [*(judged.pair_set.name for judged in answers), "Overall"]


def _bin_names() -> list[str]:
    width = 100 // NUM_BINS
    return [f"{width * place}-{width * (place + 1)} %" for place in range(NUM_BINS)]
