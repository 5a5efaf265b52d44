import itertools
from collections.abc import Callable

import numpy as np
import pytest

from urgentmos.data.manifest import Recording
from urgentmos.evaluation.mos_rmbench import (
    SIZES,
    Benchmark,
    BenchmarkError,
    at_most,
    below,
    build_benchmark,
    count_cycles,
    error_by_percentile,
    find_dataset,
)
from urgentmos.evaluation.mos_rmbench_report import composition_table
from urgentmos.evaluation.pair_sampling import CATEGORIES
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.preference import Preferences
from urgentmos.evaluation.ratings import RatedCorpus

MakeCorpus = Callable[..., RatedCorpus]


def _category(a: Recording, b: Recording) -> str:
    if a.reference_id == b.reference_id:
        return "content"
    same = a.system_id == b.system_id or a.meta["speaker"] == b.meta["speaker"]
    return "speaker or system" if same else "neither"


def test_sizes_are_those_of_table_1() -> None:
    assert sum(sizes.get("train", 0) for sizes in SIZES.values()) == 55_333
    assert sum(sizes.get("validation", 0) for sizes in SIZES.values()) == 9_905
    assert sum(sizes.get("test", 0) for sizes in SIZES.values()) == 9_240


def test_pairs_reach_the_sizes_and_are_split_evenly_over_tests_and_categories(
    benchmark_pairs: Benchmark,
) -> None:
    assert len(benchmark_pairs.pair_sets["bvcc"].pairs) == 1000
    assert len(benchmark_pairs.pair_sets["nisqa"].pairs) == 2240
    bvcc = [stratum.num_pairs for stratum in benchmark_pairs.strata if stratum.dataset == "bvcc"]
    assert max(bvcc) - min(bvcc) <= 1
    nisqa = [stratum for stratum in benchmark_pairs.strata if stratum.dataset == "nisqa"]
    assert {(stratum.test, stratum.category) for stratum in nisqa} == set(
        itertools.product(("nisqa_for", "nisqa_p501"), CATEGORIES)
    )


def test_every_pair_is_of_its_category_and_never_crosses_a_listening_test(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    by_path = {r.audio_path: (c.name, r) for c in corpora for r in c.recordings}
    for name, pairs in benchmark_pairs.pair_sets.items():
        counts = dict.fromkeys(CATEGORIES, 0)
        seen = set()
        for (first, second), difference in zip(pairs.pairs, pairs.differences, strict=True):
            test_a, a = by_path[pairs.paths[first]]
            test_b, b = by_path[pairs.paths[second]]
            assert test_a == test_b
            assert a.metrics["mos"] - b.metrics["mos"] == difference != 0
            counts[_category(a, b)] += 1
            seen.add(frozenset((first, second)))
        assert len(seen) == len(pairs.pairs)
        strata = [stratum for stratum in benchmark_pairs.strata if stratum.dataset == name]
        for category in CATEGORIES:
            assert counts[category] == sum(c.num_pairs for c in strata if c.category == category)


def test_possible_pairs_are_counted_as_by_hand(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    expected = dict.fromkeys(CATEGORIES, 0)
    for a, b in itertools.combinations(corpora[0].recordings, 2):
        expected[_category(a, b)] += a.metrics["mos"] != b.metrics["mos"]
    found = {c.category: c.num_possible for c in benchmark_pairs.strata if c.dataset == "bvcc"}
    assert found == expected


def test_about_half_of_the_pairs_present_the_better_recording_first(
    benchmark_pairs: Benchmark,
) -> None:
    first = np.mean(benchmark_pairs.pair_sets["nisqa"].differences > 0)
    assert 0.45 < first < 0.55


def test_two_people_get_the_same_pairs_whatever_the_order_of_their_files(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    shuffled = [
        RatedCorpus(corpus.name, [corpus.recordings[i] for i in order])
        for corpus in reversed(corpora)
        for order in [np.random.default_rng(3).permutation(len(corpus.recordings))]
    ]
    assert build_benchmark(shuffled).digest == benchmark_pairs.digest


def test_the_pair_list_of_these_corpora_is_pinned(benchmark_pairs: Benchmark) -> None:
    """If this digest changes, so do everybody's pairs: give the benchmark a new version."""
    assert benchmark_pairs.digest == "d225e3f1c9995c70"


def test_seed_and_ratings_change_the_digest(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    assert build_benchmark(corpora, seed=1).digest != benchmark_pairs.digest
    flipped = [
        RatedCorpus(
            corpus.name,
            [
                Recording(r.audio_path, r.uid, r.system_id, r.reference_id, r.duration,
                          {"mos": 6 - r.metrics["mos"]}, r.meta)
                for r in corpus.recordings
            ],
        )
        for corpus in corpora
    ]  # fmt: skip
    assert build_benchmark(flipped).digest != benchmark_pairs.digest


def test_other_pairs_than_the_pinned_ones_are_an_error(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    pin = benchmark_pairs.digest
    assert build_benchmark(corpora, pin=pin).digest == pin
    with pytest.raises(BenchmarkError, match=f"expected pairs with digest {pin}, drew [0-9a-f]+"):
        build_benchmark(corpora, seed=1, pin=pin)


def test_recordings_without_rating_content_or_system_are_left_out_and_counted(
    make_corpus: MakeCorpus,
) -> None:
    corpus = make_corpus("bvcc", systems=4, contents=4)
    first, second, third, *_ = corpus.recordings
    del first.metrics["mos"]
    second.system_id = "-"
    third.reference_id = "unknown"
    benchmark = build_benchmark([corpus])
    assert benchmark.num_unusable == {"bvcc": 3}
    used = {int(place) for place in benchmark.pair_sets["bvcc"].pairs.flat}
    assert not used & {0, 1, 2}
    assert "unusable recordings" in composition_table(benchmark).columns


def test_triplets_are_distinct_and_of_one_category(
    corpora: list[RatedCorpus], benchmark_pairs: Benchmark
) -> None:
    triplets = benchmark_pairs.triplets["bvcc"]
    assert len(triplets.pairs) == 300
    recordings = corpora[0].recordings
    seen = set()
    for block in triplets.pairs.reshape(-1, 3, 2):
        members = sorted(set(block.flat), key=lambda i: -recordings[i].metrics["mos"])
        assert len(members) == 3
        a, b, c = members
        assert [set(pair) for pair in block.tolist()] == [{a, b}, {b, c}, {a, c}]
        categories = {_category(recordings[i], recordings[j]) for i, j in block}
        assert len(categories) == 1
        seen.add(frozenset(members))
    assert len(seen) == 100


def test_cycles_are_found_however_the_pairs_are_presented(benchmark_pairs: Benchmark) -> None:
    triplets = benchmark_pairs.triplets["nisqa"]
    sign = np.sign(triplets.differences)
    toward_better = np.tile([1.0, 1.0, 1.0], len(sign) // 3)
    toward_better[:9] = [1, 1, -1, -1, -1, 1, 1, -1, -1]
    preferences = Preferences(np.zeros(len(sign), dtype=int), toward_better * sign)
    cycles = count_cycles(triplets, preferences)
    assert cycles[:3].tolist() == [True, True, False]
    assert not cycles[3:].any()


def test_scores_never_run_in_a_circle(benchmark_pairs: Benchmark) -> None:
    generator = np.random.default_rng(0)
    triplets = benchmark_pairs.triplets["nisqa"]
    random = ScorePredictor("random", {path: generator.normal() for path in triplets.paths})
    assert not count_cycles(triplets, random.prefer(triplets, delta=0.5)).any()


def test_error_by_percentile_by_hand() -> None:
    differences = np.array([0.1, -2.0, 0.5, -0.2])
    correct = np.array([False, True, True, True])
    assert error_by_percentile(differences, correct, num_bins=2).tolist() == [0.5, 0.0]


def test_subsets_by_gap_keep_the_bounds_of_the_paper() -> None:
    gaps = np.array([2.2 - 1.7, 0.2, -0.19, 0.51])
    assert at_most(gaps, 0.5).tolist() == [True, True, True, False]
    assert below(gaps, 0.2).tolist() == [False, False, True, False]


def test_overall_accuracy_weighs_pairs_and_reproduces_the_papers_average() -> None:
    """Table 2, scalar + BT: 80.04 is the mean over pairs, not over datasets."""
    accuracy = {"bvcc": 85.70, "nisqa": 83.93, "singmos": 74.80, "somos": 76.80,
                "tmhint_qi": 81.10, "vmc23": 77.73}  # fmt: skip
    correct = {name: round(SIZES[name]["test"] * value / 100) for name, value in accuracy.items()}
    total = sum(SIZES[name]["test"] for name in accuracy)
    assert 100 * sum(correct.values()) / total == pytest.approx(80.04, abs=0.005)


def test_a_corpus_of_no_dataset_or_split_is_an_error(make_corpus: MakeCorpus) -> None:
    assert find_dataset("nisqa_p501") == "nisqa"
    assert find_dataset("nisqax") is None
    with pytest.raises(BenchmarkError, match="'pstn'"):
        build_benchmark([make_corpus("pstn")])
    with pytest.raises(BenchmarkError, match="no 'train' pairs of corpus 'vmc23_track1'"):
        build_benchmark([make_corpus("vmc23_track1")], split="train")
