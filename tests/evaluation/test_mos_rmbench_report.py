import numpy as np

from urgentmos.evaluation.mos_rmbench import Benchmark, build_benchmark
from urgentmos.evaluation.mos_rmbench_report import (
    accuracy_tables,
    percentile_table,
    triplet_tables,
)
from urgentmos.evaluation.pair_answers import PairAnswers
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.ratings import RatedCorpus


def test_tables_hold_accuracies_of_an_oracle_and_of_its_opposite(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    ratings = {r.audio_path: r.metrics["mos"] for c in corpora for r in c.recordings}
    oracle = ScorePredictor("oracle", ratings)
    opposite = ScorePredictor("opposite", {path: -rating for path, rating in ratings.items()})
    answers = [
        PairAnswers(pairs, {p.name: p.prefer(pairs, delta=0.5) for p in (oracle, opposite)})
        for pairs in benchmark_pairs.pair_sets.values()
    ]
    all_pairs, half, _ = accuracy_tables(answers)
    counts, right, wrong = all_pairs.rows
    assert (counts["bvcc"], counts["nisqa"], counts["Overall"]) == (1000, 2240, 3240)
    assert (right["bvcc"], right["Overall"].value) == (1.0, 1.0)
    assert (wrong["nisqa"], wrong["Overall"].value) == (0.0, 0.0)
    assert half.rows[0]["Overall"] < 3240
    assert {row["0-10 %"] for row in percentile_table(answers).rows} == {0.0, 1.0}
    triplets = [
        PairAnswers(pairs, {oracle.name: oracle.prefer(pairs, delta=0.5)})
        for pairs in benchmark_pairs.triplets.values()
    ]
    accuracy, cycles = triplet_tables(triplets)
    assert accuracy.rows == [{"predictor": "oracle", "bvcc": 1.0, "nisqa": 1.0, "Overall": 1.0}]
    assert cycles.rows == [{"predictor": "oracle", "bvcc": 0.0, "nisqa": 0.0, "Overall": 0.0}]


def test_the_interval_over_all_datasets_knows_that_pairs_share_recordings(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    """Who judges only whole recordings wrong has an accuracy that hangs on few of them."""
    ratings = {r.audio_path: r.metrics["mos"] for c in corpora for r in c.recordings}
    fooled = {path: 9.0 if place % 10 == 0 else ratings[path] for place, path in enumerate(ratings)}
    predictor = ScorePredictor("fooled", fooled)
    answers = [
        PairAnswers(pairs, {"fooled": predictor.prefer(pairs, delta=0.5)})
        for pairs in benchmark_pairs.pair_sets.values()
    ]
    overall = accuracy_tables(answers)[0].rows[1]["Overall"]
    independent = 2 * 1.96 * np.sqrt(overall.value * (1 - overall.value) / 3240)
    assert overall.high - overall.low > 1.5 * independent


def test_a_dataset_of_which_nothing_was_scored_has_no_accuracy_and_then_overall_has_none(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    first = ScorePredictor("first", {r.audio_path: r.metrics["mos"] for r in corpora[0].recordings})
    nothing = ScorePredictor("nothing", {})
    on_pairs, on_triplets = (
        [
            PairAnswers(pairs, {p.name: p.prefer(pairs, delta=0.5) for p in (first, nothing)})
            for pairs in pair_sets.values()
        ]
        for pair_sets in (benchmark_pairs.pair_sets, benchmark_pairs.triplets)
    )
    _, some, none = accuracy_tables(on_pairs)[0].rows
    assert some["bvcc"] == 1.0
    assert np.isnan([some["nisqa"], some["Overall"]]).all()
    assert np.isnan([none["bvcc"], none["nisqa"], none["Overall"]]).all()
    assert np.isnan(percentile_table(on_pairs).rows[-1]["0-10 %"])
    for table in triplet_tables(on_triplets):
        assert np.isnan([table.rows[0]["nisqa"], table.rows[0]["Overall"]]).all()
        assert np.isnan([table.rows[1]["bvcc"], table.rows[1]["Overall"]]).all()


def test_a_dataset_without_pairs_takes_no_number_from_the_others(
    corpora: list[RatedCorpus],
) -> None:
    lone = RatedCorpus("somos", corpora[1].recordings[:1])
    benchmark = build_benchmark([corpora[0], lone])
    oracle = ScorePredictor(
        "oracle",
        {r.audio_path: r.metrics["mos"] for c in (corpora[0], lone) for r in c.recordings},
    )
    on_pairs, on_triplets = (
        [PairAnswers(pairs, {"oracle": oracle.prefer(pairs, delta=0.5)}) for pairs in sets.values()]
        for sets in (benchmark.pair_sets, benchmark.triplets)
    )
    _, row = accuracy_tables(on_pairs)[0].rows
    assert np.isnan(row["somos"])
    assert row["Overall"].value == 1.0
    accuracy, cycles = triplet_tables(on_triplets)
    assert (accuracy.rows[0]["Overall"], cycles.rows[0]["Overall"]) == (1.0, 0.0)
