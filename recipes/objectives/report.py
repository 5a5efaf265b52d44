"""Set the objectives that ``recipes/objectives/run`` trained with side by side, with intervals."""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import urgentmos
from urgentmos.correlation import STATISTICS
from urgentmos.evaluation.bootstrap import (
    Difference,
    Interval,
    Resampling,
    pair_weights,
    paired_difference,
    weighted_mean,
)
from urgentmos.evaluation.comparer import PreferenceComparer
from urgentmos.evaluation.pair_sets import PairSet, pair_rated_corpus
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.preference import DELTA, Preferences, correct_orders
from urgentmos.evaluation.ratings import RatedCorpus, read_rated_corpora
from urgentmos.evaluation.tables import Cell, Table, to_markdown, write_tables
from urgentmos.ndarray import NDArray
from urgentmos.report.intervals import t_quantile
from urgentmos.scoring import score_files

BASELINE = "mse"
RESAMPLING = Resampling(2000)

VALIDATION = {
    "LCC": "lcc/mos",
    "SRCC": "srcc/mos",
    "pairs of one content": "pair_accuracy/ref",
    "pairs of one family": "pair_accuracy/strength",
}
COMPARED = {
    "pairs of one content": "compare_accuracy/ref",
    "pairs of one family": "compare_accuracy/strength",
}


@dataclass(frozen=True)
class Answers:
    """What the runs of one objective say about one listening test.

    Attributes:
        scores: ``mos`` by seed and recording; None where the preference head answers.
        correct: Whether each strict pair was put in order, by seed and pair.
    """

    scores: NDArray[np.float64] | None
    correct: NDArray[np.bool_]


def find_runs(folder: Path) -> dict[str, list[Path]]:
    """List the finished runs ``<objective>_<seed>`` by objective, the baseline first.

    Raises:
        ValueError: The baseline is missing, or the objectives have different seeds or data.
    """
    runs: dict[str, dict[int, Path]] = {}
    for final in sorted(folder.glob("*_*/final")):
        objective, _, seed = final.parent.name.rpartition("_")
        runs.setdefault(objective, {})[int(seed)] = final.parent
    if BASELINE not in runs:
        raise ValueError(f"{folder}: expected finished runs of {BASELINE!r}, got {sorted(runs)}")
    for objective, by_seed in runs.items():
        if by_seed.keys() != runs[BASELINE].keys():
            raise ValueError(
                f"{folder}: {objective} has seeds {sorted(by_seed)}, {BASELINE} has "
                f"{sorted(runs[BASELINE])}; finish the runs first"
            )
    digests = {
        folder.name: json.loads((folder / "run.json").read_text(encoding="utf-8"))["data_digest"]
        for by_seed in runs.values()
        for folder in by_seed.values()
    }
    first = next(iter(digests))
    for name, digest in digests.items():
        if digest != digests[first]:
            raise ValueError(
                f"{folder}: {name} was trained on other data than {first} ({digest[:12]} and "
                f"{digests[first][:12]}); train both on the same"
            )
    order = sorted(runs, key=lambda name: name != BASELINE)
    return {name: [runs[name][seed] for seed in sorted(runs[name])] for name in order}


def over_seeds(values: Sequence[float]) -> Interval:
    """Mean over seeds with its 95 % t-interval; no interval for one seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = t_quantile(len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def validation_tables(runs: dict[str, list[Path]]) -> list[Table]:
    """Figures of the last validation, and what each objective adds to the baseline's."""
    note = "Mean over seeds with its 95 % t-interval."
    figures = Table("Validation", note)
    gains = Table(f"Validation, gain over {BASELINE}", f"{note} Runs of one seed are paired.")
    history = {name: [_last_validation(folder) for folder in runs[name]] for name in runs}
    baseline = history[BASELINE]
    for name, validations in history.items():
        for label, keys in ((name, VALIDATION), (f"{name}, compare", COMPARED)):
            if not all(key in validations[0] for key in keys.values()):
                continue
            row: dict[str, Cell] = {"objective": label}
            gain: dict[str, Cell] = {"objective": label}
            for column, key in keys.items():
                values = [validation[key] for validation in validations]
                row[column] = over_seeds(values)
                first = [validation[VALIDATION[column]] for validation in baseline]
                gain[column] = over_seeds(np.subtract(values, first).tolist())
            figures.rows.append(row)
            if label != BASELINE:
                gains.rows.append(gain)
    return [figures, gains]


def listening_tables(runs: dict[str, list[Path]], corpora: Sequence[RatedCorpus]) -> list[Table]:
    """Agreement with listeners, and what each objective adds to the baseline's."""
    figures = Table(
        "Listening tests",
        "Per file, and over pairs of one content whose ratings differ. Mean over seeds with its "
        "95 % t-interval.",
    )
    gains = Table(
        f"Listening tests, gain over {BASELINE}",
        "Mean over seeds with its 95 % bootstrap interval over recordings and seeds.",
    )
    tests = [(corpus, pair_rated_corpus(corpus)) for corpus in corpora]
    answers = {name: _ask(folders, tests) for name, folders in runs.items()}
    for place, (corpus, pairs) in enumerate(tests):
        first = answers[BASELINE][place][""]
        for name, label, given in _by_label(answers, place):
            head = {"listening test": corpus.name, "objective": label}
            figures.rows.append(head | _listening_figures(given, corpus))
            if name != BASELINE:
                gains.rows.append(head | _listening_gains(given, first, corpus, pairs))
    return [figures, gains]


def _last_validation(folder: Path) -> dict[str, float]:
    last = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    # JSON has no NaN, as the correlation of equal scores is: null stands for it.
    return {name: np.nan if value is None else value for name, value in json.loads(last).items()}


def _ask(
    folders: Sequence[Path], tests: Sequence[tuple[RatedCorpus, PairSet]]
) -> list[dict[str, Answers]]:
    """Answers of one objective on each test: by score (""), and ", compare" with such a head."""
    assessors = [urgentmos.load(folder / "final") for folder in folders]
    answers = []
    for corpus, pairs in tests:
        paths = [recording.audio_path for recording in corpus.recordings]
        rows = [list(score_files(assessor, paths)) for assessor in assessors]
        scores = np.array([[row.scores.get("mos", np.nan) for row in of_seed] for of_seed in rows])
        by_path = [dict(zip(paths, of_seed.tolist(), strict=True)) for of_seed in scores]
        predictors = [ScorePredictor("", known) for known in by_path]
        preferences = [predictor.prefer(pairs, delta=DELTA) for predictor in predictors]
        given = {"": Answers(scores, _correct(pairs, preferences))}
        if assessors[0].network.preference is not None:
            compared = [PreferenceComparer(each).prefer(pairs).preferences for each in assessors]
            given[", compare"] = Answers(None, _correct(pairs, compared))
        answers.append(given)
    return answers


def _by_label(
    answers: dict[str, list[dict[str, Answers]]], place: int
) -> Iterator[tuple[str, str, Answers]]:
    for name, by_test in answers.items():
        for suffix, given in by_test[place].items():
            yield name, name + suffix, given


def _correct(pairs: PairSet, preferences: Sequence[Preferences]) -> NDArray[np.bool_]:
    strict = pairs.strict
    return np.array(
        [correct_orders(pairs.differences[strict], p.among(strict)) for p in preferences]
    )


def _listening_figures(given: Answers, corpus: RatedCorpus) -> dict[str, Cell]:
    row: dict[str, Cell] = {}
    for column, statistic in (("LCC", STATISTICS["lcc"]), ("SRCC", STATISTICS["srcc"])):
        if given.scores is not None:
            row[column] = over_seeds([statistic(corpus.ratings, s) for s in given.scores])
    return row | {"pairs": over_seeds(given.correct.mean(axis=1).tolist())}


def _listening_gains(
    given: Answers, first: Answers, corpus: RatedCorpus, pairs: PairSet
) -> dict[str, Cell]:
    row: dict[str, Cell] = {}
    if given.scores is not None and first.scores is not None:
        everything = np.arange(len(corpus.ratings))
        draws = list(RESAMPLING.draw(len(everything)))
        for column in ("LCC", "SRCC"):
            gain = _correlation_gain(column.lower(), corpus.ratings, given.scores, first.scores)
            row[column] = _bootstrap(gain, everything, draws, num_seeds=len(given.correct))
    strict = pairs.pairs[pairs.strict]
    gains = given.correct.astype(float) - first.correct.astype(float)
    weights = pair_weights(strict, unit="recording", resampling=RESAMPLING)
    row["pairs"] = _bootstrap(
        lambda seed, weight: weighted_mean(gains[seed], weight),
        np.ones(len(strict)),
        list(weights),
        num_seeds=len(gains),
    )
    return row


def _correlation_gain(
    name: str,
    ratings: NDArray[np.float64],
    scores: NDArray[np.float64],
    first: NDArray[np.float64],
) -> Callable[[int, NDArray[np.int64]], float]:
    statistic = STATISTICS[name]

    def gain(seed: int, drawn: NDArray[np.int64]) -> float:
        mine, others = scores[seed, drawn], first[seed, drawn]
        return statistic(ratings[drawn], mine) - statistic(ratings[drawn], others)

    return gain


def _bootstrap(
    gain: Callable[[int, NDArray], float],
    everything: NDArray,
    draws: Sequence[NDArray],
    *,
    num_seeds: int,
) -> Difference:
    """Draw recordings and seeds again: a gain that holds for other files and other runs."""
    generator = np.random.default_rng(RESAMPLING.seed)
    resampled = [
        np.mean([gain(seed, drawn) for seed in generator.integers(num_seeds, size=num_seeds)])
        for drawn in draws
    ]
    value = np.mean([gain(seed, everything) for seed in range(num_seeds)])
    return paired_difference(float(value), np.array(resampled))


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("listening", type=Path, help="rated manifest")
    parser.add_argument("runs", type=Path, help="folder of the runs")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables")
    arguments = parser.parse_args()
    runs = find_runs(arguments.runs)
    tables = validation_tables(runs)
    tables += listening_tables(runs, read_rated_corpora(arguments.listening))
    for table in tables:
        print(to_markdown(table))
    write_tables(tables, arguments.output)


if __name__ == "__main__":
    main()
