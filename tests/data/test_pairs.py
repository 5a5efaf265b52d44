import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urgentmos.data.manifest import Pair, Recording
from urgentmos.data.pairs import (
    MATCHINGS,
    NativePairs,
    PairError,
    PairTable,
    cap_pairs,
    make_pairs,
    preference,
)
from urgentmos.evaluation.preference import (
    A_BETTER,
    B_BETTER,
    NO_ANSWER,
    TIE,
    verdicts_from_differences,
)

finite = st.floats(-10, 10)


def recording(
    name: str, *, reference: str = "r", mos: float | None = None, **meta: object
) -> Recording:
    metrics = {} if mos is None else {"mos": mos}
    return Recording(Path(f"/{name}.wav"), name, "s", reference, 1.0, metrics, meta)


def names(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.a.stem, pair.b.stem) for pair in pairs]


def test_a_difference_of_exactly_delta_is_a_tie_both_ways() -> None:
    cmos = np.array([0.5, -0.5, 0.50001, -0.50001, 0.0])
    assert preference(cmos, delta=0.5).tolist() == [0, 0, 1, -1, 0]


def test_a_difference_that_is_delta_only_in_decimals_is_a_tie_here_and_in_evaluation() -> None:
    differences = np.array([2.2 - 1.7, 1.7 - 2.2, 2.3 - 1.8, 1.8 - 2.3])
    assert differences[0] > 0.5 > differences[2]  # in binary
    assert preference(differences, delta=0.5).tolist() == [0, 0, 0, 0]
    assert verdicts_from_differences(differences, delta=0.5).tolist() == [TIE] * 4


@given(st.lists(st.floats(-4, 4) | st.just(np.nan), min_size=1), st.floats(0, 2))
@settings(deadline=None)
def test_training_and_evaluation_call_the_same_pairs_ties(
    values: list[float], delta: float
) -> None:
    differences = np.array([*values, delta, -delta])
    verdicts = verdicts_from_differences(differences, delta=delta)
    known = verdicts != NO_ANSWER
    assert known.tolist() == (~np.isnan(differences)).tolist()
    class_by_preference = {1: A_BETTER, 0: TIE, -1: B_BETTER}
    assert [
        class_by_preference[p] for p in preference(differences[known], delta=delta)
    ] == verdicts[known].tolist()


def test_ties_within_the_threshold_are_dropped_as_they_are_counted() -> None:
    rated = [recording("a", mos=2.2), recording("b", mos=1.7), recording("c", mos=4.0)]
    made = make_pairs(rated, matching="any", drop_ties_within=0.5)
    assert names(made) == [("a", "c"), ("b", "c")]
    native = [Pair(Path("/a.wav"), Path("/b.wav"), 2.2 - 1.7, (1.0, 1.0))]
    assert cap_pairs(native, cap=None, drop_ties_within=0.5, seed=0) == []


@given(a=finite, b=finite, delta=st.floats(0, 2))
@settings(deadline=None)
def test_swapping_two_scores_negates_the_preference(a: float, b: float, delta: float) -> None:
    forward = preference(np.array([a - b]), delta=delta)
    assert forward == -preference(np.array([b - a]), delta=delta)


def test_p501_shape_gives_the_count_of_the_paper() -> None:
    recordings = [
        recording(f"{s}_{r}", reference=str(r), mos=1 + s / 20) for s in range(60) for r in range(4)
    ]
    pairs = make_pairs(recordings, matching="ref", ordered=True)
    assert len(set(names(pairs))) == len(pairs) == 14160
    assert all(a.split("_")[1] == b.split("_")[1] for a, b in names(pairs))


def test_chime7_shape_gives_the_count_of_the_paper() -> None:
    recordings = [
        recording(f"{s}_{r}", reference=str(r), mos=3.0) for s in range(5) for r in range(128)
    ]
    assert len(make_pairs(recordings, matching="ref", ordered=True)) == 2560


@pytest.mark.parametrize("size", range(2, 9))
def test_unordered_pairs_are_every_combination_once(size: int) -> None:
    recordings = [recording(str(i), mos=1.0) for i in range(size)]
    expected = list(itertools.combinations(map(str, range(size)), 2))
    assert sorted(names(make_pairs(recordings, matching="any"))) == expected


def test_references_of_one_name_in_two_corpora_are_not_paired() -> None:
    recordings = [
        recording("a", mos=1.0, corpus="x"), recording("b", mos=2.0, corpus="x"),
        recording("c", mos=3.0, corpus="y"), recording("d", mos=4.0, corpus="y", reference="q"),
    ]  # fmt: skip
    assert names(make_pairs(recordings, matching="ref")) == [("a", "b")]
    assert names(make_pairs(recordings, matching="corpus")) == [("a", "b"), ("c", "d")]
    assert len(make_pairs(recordings, matching="any")) == 6


def test_the_cmos_is_the_difference_of_the_ratings_and_unrated_ones_are_left_out() -> None:
    recordings = [recording("a", mos=2.0), recording("b", mos=3.5), recording("c")]
    (pair,) = make_pairs(recordings, matching="ref")
    assert (pair.cmos, pair.durations) == (-1.5, (1.0, 1.0))


def test_a_file_under_two_names_is_not_paired_with_itself() -> None:
    twice = [recording("a", mos=2.0), recording("a", mos=3.0), recording("b", mos=1.0)]
    assert names(make_pairs(twice, matching="any")) == [("a", "b"), ("a", "b")]


def test_a_file_under_two_names_is_not_drawn_as_its_own_partner() -> None:
    rated = [recording("a", mos=1.0), recording("a", mos=2.0)]
    table = PairTable(rated, delta=0.5)
    assert table.draw_partners({"any": 1.0}, np.random.default_rng(0)).tolist() == [-1, -1]


def test_ties_are_dropped_before_the_cap() -> None:
    recordings = [recording(str(i), mos=2.0 if i == 0 else 1.0) for i in range(30)]
    pairs = make_pairs(recordings, matching="any", cap=29, drop_ties_within=0.5)
    assert len(pairs) == 29
    assert all(abs(pair.cmos) == 1 for pair in pairs)


def test_few_pairs_among_many_ties_are_found_in_few_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = []
    valid = PairTable._valid
    monkeypatch.setattr(
        PairTable, "_valid", lambda *args, **options: rounds.append(1) or valid(*args, **options)
    )
    recordings = [recording(str(i), mos=1.0) for i in range(600)]
    with pytest.raises(PairError, match="no pairs by 'any'"):
        make_pairs(recordings, matching="any", cap=1, drop_ties_within=0.5)
    assert len(rounds) < 25
    recordings[7] = recording("7", mos=2.0)
    assert len(make_pairs(recordings, matching="any", cap=900, drop_ties_within=0.5)) == 599


@pytest.mark.parametrize("name", ["-", "", "unknown"])
def test_what_nobody_knows_the_content_of_is_not_of_the_same_content(name: str) -> None:
    recordings = [recording(str(i), reference=name, mos=1.0 + i) for i in range(3)]
    with pytest.raises(PairError, match="with the same reference_id, other than '-'"):
        make_pairs(recordings, matching="ref")
    assert len(make_pairs(recordings, matching="corpus")) == 3


@given(cap=st.integers(1, 300), seed=st.integers(0, 3), ordered=st.booleans())
@settings(deadline=None)
def test_a_cap_draws_that_many_different_pairs_by_seed(cap: int, seed: int, ordered: bool) -> None:
    recordings = [recording(str(i), mos=1 + i / 10) for i in range(20)]
    pairs = make_pairs(recordings, matching="any", ordered=ordered, cap=cap, seed=seed)
    total = 380 if ordered else 190
    assert len(set(names(pairs))) == len(pairs) == min(cap, total)
    again = make_pairs(recordings, matching="any", ordered=ordered, cap=cap, seed=seed)
    assert pairs == again


def test_capped_pairs_come_from_everywhere_not_from_the_front() -> None:
    recordings = [recording(str(i), mos=1.0) for i in range(1000)]
    pairs = make_pairs(recordings, matching="any", cap=2000)
    firsts = np.array([int(a) for a, _ in names(pairs)])
    # Of all unordered pairs the first member is 333 on average.
    assert abs(firsts.mean() - 333) < 20


def test_a_weaker_distortion_is_better_with_the_labels_difference_where_it_agrees() -> None:
    recordings = [
        recording("mild", family="f", strength=0.2, mos=4.0),
        recording("strong", family="f", strength=0.9, mos=2.5),
        recording("unrated", family="f", strength=0.5),
        recording("contrary", family="f", strength=1.0, mos=4.5),
        recording("alone", family="g", strength=0.1),
    ]
    pairs = make_pairs(recordings, matching="strength")
    cmos = dict(zip(names(pairs), (pair.cmos for pair in pairs), strict=True))
    assert cmos == {
        ("mild", "strong"): 1.5, ("mild", "unrated"): 1.0, ("mild", "contrary"): 0.0,
        ("strong", "unrated"): -1.0, ("strong", "contrary"): 0.0, ("unrated", "contrary"): 1.0,
    }  # fmt: skip


def test_families_of_one_name_in_other_contents_corpora_or_simulations_are_others() -> None:
    step = {"kind": "mnru", "seed": 1}
    first = recording("mild", family="000001", strength=0.2, corpus="c", distortions=[step])
    others = [
        recording(
            "content",
            reference="q",
            family="000001",
            strength=0.9,
            corpus="c",
            distortions=[step],
        ),
        recording("corpus", family="000001", strength=0.9, corpus="d", distortions=[step]),
        *(
            recording(name, family="000001", strength=0.9, corpus="c", distortions=[other])
            for name, other in (("kind", {**step, "kind": "babble"}), ("seed", {**step, "seed": 2}))
        ),
    ]
    table = PairTable([first, *others], delta=0.0)
    a, b = np.triu_indices(5, 1)
    assert not table.compare(a, b).preference.any()
    with pytest.raises(PairError, match=r"same meta\.family, reference_id and meta\.corpus"):
        make_pairs([first, *others], matching="strength")
    strong = recording("strong", family="000001", strength=0.9, corpus="c", distortions=[step])
    pairs = make_pairs([first, *others, strong], matching="strength")
    assert names(pairs) == [("mild", "strong")]


def test_the_preference_within_a_family_follows_the_strength_and_mirrors() -> None:
    table = PairTable(
        [
            recording("mild", family="f", strength=0.2, mos=4.0),
            recording("contrary", family="f", strength=1.0, mos=4.5),
            recording("other", mos=1.0),
            recording("unrated"),
        ],
        delta=0.5,
    )
    a, b = np.array([0, 0, 0]), np.array([1, 2, 3])
    assert table.compare(a, b).preference.tolist() == [1, 1, 0]
    assert table.compare(b, a).preference.tolist() == [-1, -1, 0]
    np.testing.assert_array_equal(table.compare(a, b).cmos, [0.0, 3.0, np.nan])
    np.testing.assert_array_equal(table.compare(b, a).cmos, [0.0, -3.0, np.nan])


def test_partners_keep_to_their_matching_and_are_never_oneself() -> None:
    recordings = [
        recording(str(i), reference=str(i // 4), mos=1.0, corpus=str(i // 40)) for i in range(200)
    ]
    table = PairTable(recordings, delta=0.5)
    own = np.arange(200)
    for matching, width in (("ref", 4), ("corpus", 40), ("any", 200)):
        partners = table.draw_partners({matching: 1.0}, np.random.default_rng(0))  # type: ignore[dict-item]
        assert (partners != own).all()
        assert (partners // width == own // width).all()


def test_matchings_are_drawn_by_weight_and_replaced_where_there_is_no_partner() -> None:
    recordings = [recording(str(i), reference=str(i // 2), mos=1.0) for i in range(4000)]
    recordings.append(recording("lonely", reference="lonely", mos=1.0))
    table = PairTable(recordings, delta=0.5)
    partners = table.draw_partners({"ref": 0.7, "any": 0.3}, np.random.default_rng(0))
    share = (partners[:4000] // 2 == np.arange(4000) // 2).mean()
    assert abs(share - 0.7) < 0.03
    assert partners[4000] >= 0


def test_a_recording_nobody_matches_has_no_partner() -> None:
    alone = [recording("a", reference="1", mos=1.0), recording("b", reference="2", mos=2.0)]
    table = PairTable(alone, delta=0.5)
    assert table.draw_partners({"ref": 1.0}, np.random.default_rng(0)).tolist() == [-1, -1]
    assert table.draw_partners({}, np.random.default_rng(0)).tolist() == [-1, -1]


def test_without_a_mos_label_there_are_partners_by_strength_alone() -> None:
    family = [recording(str(i), family="f", strength=0.1 * i) for i in range(3)]
    rated = [recording(str(i), mos=1.0) for i in range(3, 6)]
    table = PairTable([*family, *rated], delta=0.5)
    for matching in ("ref", "corpus", "any"):
        partners = table.draw_partners({matching: 1.0}, np.random.default_rng(0))
        assert partners[:3].tolist() == [-1, -1, -1]
        assert set(partners[3:]) <= {3, 4, 5}
    partners = table.draw_partners({"any": 0.9, "strength": 0.1}, np.random.default_rng(0))
    assert set(partners[:3]) <= {0, 1, 2}
    assert (partners != np.arange(6)).all()


def test_native_pairs_pass_through_capped_by_seed() -> None:
    pairs = [Pair(Path(f"{i}a"), Path(f"{i}b"), float(i % 3 - 1), (1.0, 1.0)) for i in range(30)]
    assert cap_pairs(pairs, cap=None, drop_ties_within=None, seed=0) == pairs
    assert len(cap_pairs(pairs, cap=None, drop_ties_within=0.0, seed=0)) == 20
    capped = cap_pairs(pairs, cap=5, drop_ties_within=None, seed=0)
    assert len(set(capped)) == 5
    assert capped != cap_pairs(pairs, cap=5, drop_ties_within=None, seed=1)
    assert capped == [pair for pair in pairs if pair in capped], "in the order given"


@pytest.mark.parametrize("matching", MATCHINGS)
def test_nothing_to_pair_is_told_with_what_was_there(matching: str) -> None:
    with pytest.raises(PairError, match="of 1 recordings 1 have a 'mos' label"):
        make_pairs([recording("a", mos=1.0)], matching=matching)  # type: ignore[arg-type]


@pytest.mark.parametrize("strength", ["high", True])
def test_a_strength_that_is_no_number_is_refused(strength: object) -> None:
    told = rf"'a': meta.strength: expected a number, got {strength!r}"
    with pytest.raises(PairError, match=told):
        make_pairs([recording("a", family="f", strength=strength)], matching="strength")


def test_recordings_of_one_strength_are_not_paired_by_strength() -> None:
    twins = [
        recording(name, family="f", strength=0.5, mos=m) for name, m in (("a", 1.0), ("b", 4.0))
    ]
    weaker = recording("c", family="f", strength=0.1)
    pairs = make_pairs([*twins, weaker], matching="strength")
    assert names(pairs) == [("a", "c"), ("b", "c")]


def test_native_pairs_keep_their_partner_and_their_cmos() -> None:
    recordings = [recording(str(i), mos=float(i)) for i in range(3)] + [
        recording(str(i)) for i in (3, 4)
    ]
    native = NativePairs(
        a=np.array([3]), b=np.array([4]), cmos=np.array([-1.0]), graded=np.array([False])
    )
    table = PairTable(recordings, delta=0.5, native=native)
    assert table.leads.tolist() == [0, 1, 2, 3]
    for seed in range(5):
        partners = table.draw_partners({"any": 1.0}, np.random.default_rng(seed))
        assert set(partners[:3]) <= {0, 1, 2}
        assert partners[3:].tolist() == [4, 3]
    targets = table.compare(np.array([3, 4, 2]), np.array([4, 3, 0]))
    assert targets.cmos.tolist() == [-1.0, 1.0, 2.0]
    assert targets.preference.tolist() == [-1, 1, 1]
    assert np.isnan(table.compare(np.array([3]), np.array([0])).cmos).all()


def test_delta_makes_ties_of_graded_scores_and_of_no_verdict() -> None:
    a, b = np.array([0, 2, 4, 6]), np.array([1, 3, 5, 7])
    native = NativePairs(
        a=a, b=b, cmos=np.array([1.0, 0.0, 1.0, -1.5]), graded=np.array([False, False, True, True])
    )
    table = PairTable([recording(str(i)) for i in range(8)], delta=1.0, native=native)
    assert table.compare(a, b).preference.tolist() == [1, 0, 0, -1]
    assert table.compare(b, a).preference.tolist() == [-1, 0, 0, 1]
