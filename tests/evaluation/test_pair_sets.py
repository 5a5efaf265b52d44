from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from urgentmos.data.manifest import Pair, Recording
from urgentmos.data.pairs import Matching, PairError
from urgentmos.evaluation.pair_sets import build_pair_set, can_pair, pair_rated_corpus
from urgentmos.evaluation.ratings import RatedCorpus
from urgentmos.evaluation.urgentmos_benchmark import TABLE_3, count_table


def _corpus(name: str, *, contents: int, systems: int) -> RatedCorpus:
    return RatedCorpus(
        name,
        [
            Recording(
                Path(f"{name}/{content}_{system}.wav"),
                f"s{system}:c{content}",
                f"s{system}",
                f"c{content}",
                1.0,
                {"mos": 1 + (7 * content + 3 * system) % 9 / 2},
            )
            for content in range(contents)
            for system in range(systems)
        ],
    )


@pytest.mark.parametrize(
    ("name", "contents", "systems"), [("nisqa_p501", 4, 60), ("chime7_udase", 128, 5)]
)
def test_corpora_of_the_published_shape_give_the_published_pair_counts(
    name: str, contents: int, systems: int
) -> None:
    pairs = pair_rated_corpus(_corpus(name, contents=contents, systems=systems), ordered=True)
    (row,) = count_table([pairs]).rows
    assert row["pairs"] == TABLE_3[name] == contents * systems * (systems - 1)
    assert row["difference"] == 0


def test_ordered_pairs_hold_every_pair_both_ways_with_mirrored_labels() -> None:
    pairs = pair_rated_corpus(_corpus("x", contents=2, systems=5), ordered=True)
    by_pair = {
        tuple(pair): difference
        for pair, difference in zip(pairs.pairs.tolist(), pairs.differences, strict=True)
    }
    assert all(by_pair[(b, a)] == -difference for (a, b), difference in by_pair.items())


def test_cap_is_kept_and_seeded() -> None:
    corpus = _corpus("x", contents=5, systems=10)
    first, again = (pair_rated_corpus(corpus, cap=40, seed=3) for _ in range(2))
    other = pair_rated_corpus(corpus, cap=40, seed=4)
    assert len(first.pairs) == 40
    assert first.pairs.tolist() == again.pairs.tolist()
    assert [first.paths[i] for i in first.pairs.flat] != [other.paths[i] for i in other.pairs.flat]


def test_pairs_of_equal_ratings_are_ties_and_not_strict() -> None:
    pairs = build_pair_set(
        "x",
        [
            Pair(Path("a"), Path("b"), 0.0, (1.0, 1.0)),
            Pair(Path("a"), Path("c"), -1.0, (1.0, 1.0)),
        ],
    )
    assert pairs.strict.tolist() == [False, True]
    assert pairs.labels.tolist() == [1, 2]
    assert pairs.pairs.tolist() == [[0, 1], [0, 2]]


def test_verdicts_alone_do_not_say_by_how_much() -> None:
    rated = pair_rated_corpus(_corpus("x", contents=4, systems=5))
    assert rated.is_graded
    paths = rated.paths
    verdicts = [
        Pair(paths[0], paths[i], cmos, (1.0, 1.0)) for i, cmos in ((1, 1.0), (2, -1.0), (3, 0.0))
    ]
    assert not build_pair_set("judged", verdicts).is_graded


def test_recordings_that_share_no_reference_cannot_be_paired_by_it() -> None:
    corpus = _corpus("x", contents=3, systems=1)
    assert not can_pair(corpus, "ref")
    assert can_pair(corpus, "corpus")


def test_recordings_of_which_nobody_knows_the_content_cannot_be_paired_by_it() -> None:
    unknown = [replace(r, reference_id="-") for r in _corpus("x", contents=1, systems=3).recordings]
    corpus = RatedCorpus("x", unknown)
    assert not can_pair(corpus, "ref")
    with pytest.raises(PairError):
        pair_rated_corpus(corpus)
    assert can_pair(corpus, "corpus")


@pytest.mark.parametrize("matching", ["ref", "corpus", "any"])
def test_one_file_under_two_names_cannot_be_paired(matching: Matching) -> None:
    (recording,) = _corpus("x", contents=1, systems=1).recordings
    corpus = RatedCorpus("x", [recording, replace(recording, uid="again")])
    assert not can_pair(corpus, matching)
    with pytest.raises(PairError):
        pair_rated_corpus(corpus, matching=matching)
    another = replace(recording, uid="another", audio_path=Path("x/another.wav"))
    assert can_pair(RatedCorpus("x", [*corpus.recordings, another]), matching)


@pytest.mark.parametrize("matching", ["ref", "corpus", "any"])
def test_without_ratings_nothing_can_be_paired(matching: Matching) -> None:
    unrated = [replace(r, metrics={}) for r in _corpus("x", contents=1, systems=3).recordings]
    assert not can_pair(RatedCorpus("x", unrated), matching)


def test_a_difference_of_delta_is_a_tie_on_the_corpus_own_scale() -> None:
    corpus = RatedCorpus("x", _corpus("x", contents=1, systems=2).recordings, (0.0, 100.0))
    corpus.recordings[0].metrics["mos"], corpus.recordings[1].metrics["mos"] = 50.0, 37.5
    assert pair_rated_corpus(corpus).labels.tolist() == [1]
    corpus.recordings[1].metrics["mos"] = 37.0
    assert np.array_equal(pair_rated_corpus(corpus).labels, [0])
