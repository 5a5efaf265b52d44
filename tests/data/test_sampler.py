from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urgentmos.data.manifest import Recording
from urgentmos.data.pairs import NativePairs, PairTable
from urgentmos.data.sampler import (
    BatchPlan,
    BatchSampler,
    Progress,
    Window,
    plan_whole_recordings,
)

WINDOW = Window(max_samples=100, min_samples=20, min_share=0.5)
lengths_lists = st.lists(st.integers(1, 400), min_size=1, max_size=60)


def make_sampler(lengths: list[int], *, window: Window = WINDOW, **options: object) -> BatchSampler:
    recordings = [
        Recording(Path(f"/{i}"), str(i), "s", str(i // 3), 1.0, {"mos": 1.0})
        for i in range(len(lengths))
    ]
    arguments: dict[str, object] = {"batch_samples": 400, "seed": 0, **options}
    return BatchSampler(
        np.array(lengths),
        [r.uid for r in recordings],
        window=window,
        table=PairTable(recordings, delta=0.5),
        matching={"ref": 0.5, "any": 0.5},
        **arguments,  # type: ignore[arg-type]
    )


def epoch_of(sampler: BatchSampler, epoch: int = 0) -> list[BatchPlan]:
    plans: list[BatchPlan] = []
    for plan in sampler.plans(Progress(epoch, 0)):
        plans.append(plan)
        if plan.after.epoch > epoch:
            break
    return plans


def leads(plan: BatchPlan) -> list[int]:
    """Recordings of a batch that are not there as somebody's partner."""
    return plan.recordings[: len(plan.recordings) - len(plan.pairs)].tolist()


def same(a: BatchPlan, b: BatchPlan) -> bool:
    return a.after == b.after and all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("recordings", "starts", "lengths", "inverted", "pairs")
    )


@given(lengths=lengths_lists, ranks=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_every_recording_leads_once_per_epoch_over_all_ranks(
    lengths: list[int], ranks: int
) -> None:
    counts: Counter[int] = Counter()
    for rank in range(ranks):
        for plan in epoch_of(make_sampler(lengths, rank=rank, num_ranks=ranks)):
            if plan.weighted:
                counts.update(leads(plan))
    assert counts == Counter(range(len(lengths)))


@given(lengths=lengths_lists, ranks=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_padded_samples_stay_within_the_bound_partners_counted(
    lengths: list[int], ranks: int
) -> None:
    for rank in range(ranks):
        for plan in epoch_of(make_sampler(lengths, rank=rank, num_ranks=ranks)):
            assert len(plan.recordings) * plan.lengths.max() <= 400


def test_a_batch_one_sample_above_the_bound_is_cut() -> None:
    for bound, most in ((400, 4), (399, 3)):
        plans = epoch_of(make_sampler([100] * 12, window=Window(100), batch_samples=bound))
        assert max(len(plan.recordings) for plan in plans) <= most


def test_every_place_where_a_part_fits_can_be_heard() -> None:
    sampler = make_sampler([102] * 60, window=Window(max_samples=100))
    starts = [plan.starts.tolist() for plan in epoch_of(sampler)]
    assert {start for each in starts for start in each} == {0, 1, 2}


@given(lengths=lengths_lists, epoch=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_part_lies_inside_its_recording_and_is_as_long_as_allowed(
    lengths: list[int], epoch: int
) -> None:
    for plan in epoch_of(make_sampler(lengths), epoch):
        whole = np.array(lengths)[plan.recordings]
        assert (plan.starts >= 0).all()
        assert (plan.starts + plan.lengths <= whole).all()
        assert (plan.lengths <= 100).all()
        assert (plan.lengths >= np.minimum(whole, 20)).all()


def test_long_recordings_are_cut_elsewhere_in_every_epoch_and_short_ones_not_at_all() -> None:
    sampler = make_sampler([30, 1000] * 5, window=Window(max_samples=100))
    starts = {}
    for epoch in range(2):
        for plan in epoch_of(sampler, epoch):
            short = plan.recordings % 2 == 0
            assert (plan.lengths[short] == 30).all()
            assert (plan.lengths[~short] == 100).all()
            starts[epoch] = starts.get(epoch, set()) | set(plan.starts[~short].tolist())
    assert len(starts[0]) > 3
    assert not starts[0] & starts[1]


def test_a_share_is_inverted_other_recordings_in_every_epoch_and_partners_alike() -> None:
    sampler = make_sampler([100] * 600, inverted_share=0.3)
    inverted = []
    for epoch in range(2):
        plans = epoch_of(sampler, epoch)
        for plan in plans:
            assert np.array_equal(*plan.inverted[plan.pairs].T)
        inverted.append(
            {
                i
                for plan in plans
                for i, flag in zip(leads(plan), plan.inverted, strict=False)
                if flag
            }
        )
        assert 130 < len(inverted[-1]) < 230
    assert inverted[0] != inverted[1]
    assert not any(plan.inverted.any() for plan in epoch_of(make_sampler([100] * 600)))


def test_a_window_depends_on_the_recording_not_on_what_else_is_there() -> None:
    window = Window(max_samples=100)
    few, many = (
        BatchSampler(np.full(n, 1000), [f"u{i}" for i in range(n)], batch_samples=400,
                     window=window, seed=0)
        for n in (3, 9)
    )  # fmt: skip

    def starts(sampler: BatchSampler) -> dict[int, int]:
        return {
            int(r): int(s)
            for plan in epoch_of(sampler)
            for r, s in zip(plan.recordings, plan.starts, strict=True)
        }

    assert starts(few).items() <= starts(many).items()


@given(lengths=lengths_lists, stop=st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_resuming_anywhere_continues_as_if_never_stopped(lengths: list[int], stop: int) -> None:
    sampler = make_sampler(lengths)
    uninterrupted = list(islice(sampler.plans(), stop + 5))
    progress = uninterrupted[stop - 1].after if stop else Progress()
    resumed = islice(make_sampler(lengths).plans(progress), 5)
    assert all(same(a, b) for a, b in zip(uninterrupted[stop:], resumed, strict=True))


def test_a_seed_gives_the_same_batches_and_another_seed_others() -> None:
    lengths = list(range(50, 110))
    first, again, other = (epoch_of(make_sampler(lengths, seed=s)) for s in (1, 1, 2))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not all(same(a, b) for a, b in zip(first, other, strict=False))


def test_epochs_differ_in_order_and_partners() -> None:
    sampler = make_sampler([100] * 30)
    first, second = (epoch_of(sampler, epoch) for epoch in range(2))
    assert [leads(p) for p in first] != [leads(p) for p in second]


def test_like_lengths_share_a_batch_so_that_little_is_padding() -> None:
    lengths = np.random.default_rng(0).integers(1600, 16000, size=2000)
    sampler = BatchSampler(
        lengths, [str(i) for i in range(2000)], batch_samples=320_000,
        window=Window(max_samples=16000), seed=0,
    )  # fmt: skip
    padded = heard = 0
    for plan in epoch_of(sampler):
        padded += len(plan.recordings) * int(plan.lengths.max())
        heard += int(plan.lengths.sum())
    assert padded < 1.06 * heard


def test_ranks_share_the_leads_of_the_batch_one_process_would_have() -> None:
    window = Window(max_samples=100)
    one = epoch_of(make_sampler([100] * 24, window=window, batch_samples=800))
    two = [
        epoch_of(make_sampler([100] * 24, window=window, rank=rank, num_ranks=2))
        for rank in range(2)
    ]
    assert len(one) == len(two[0]) == len(two[1])
    for whole, first, second in zip(one, *two, strict=True):
        assert sorted(leads(whole)) == sorted(leads(first) + leads(second))
        assert sorted(whole.all_recordings) == sorted(first.all_recordings)


def test_a_rank_without_a_recording_is_kept_busy_without_weight() -> None:
    plans = [epoch_of(make_sampler([100], rank=r, num_ranks=3)) for r in range(3)]
    assert [p[0].weighted for p in plans] == [True, False, False]
    assert all(len(p[0].recordings) == 1 for p in plans)


def test_pairs_name_a_lead_and_its_partner() -> None:
    for plan in epoch_of(make_sampler([100] * 20)):
        members = plan.recordings[plan.pairs]
        assert (members[:, 0] != members[:, 1]).all()
        assert sorted(map(tuple, members)) == sorted(map(tuple, plan.all_pairs))


def test_a_bound_too_small_for_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold two recordings of up to 100"):
        make_sampler([10], batch_samples=199)


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=50))
@settings(deadline=None)
def test_validation_takes_every_recording_whole_and_once(lengths: list[int]) -> None:
    batches = plan_whole_recordings(np.array(lengths), batch_samples=300)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) * longest <= 300 or len(batch) == 1


def test_of_a_native_pair_only_the_first_leads_and_the_second_is_beside_it() -> None:
    recordings = [Recording(Path(f"/{i}"), str(i), "s", "r", 1.0) for i in range(6)]
    native = NativePairs(
        a=np.array([2, 4]),
        b=np.array([3, 5]),
        cmos=np.array([1.0, 0.0]),
        graded=np.array([False, False]),
    )
    sampler = BatchSampler(
        np.full(6, 50),
        [r.uid for r in recordings],
        batch_samples=200,
        window=WINDOW,
        seed=0,
        table=PairTable(recordings, delta=0.5, native=native),
    )
    plans = epoch_of(sampler)
    assert sorted(lead for plan in plans for lead in leads(plan)) == [0, 1, 2, 4]
    pairs = [tuple(pair) for plan in plans for pair in plan.recordings[plan.pairs].tolist()]
    assert sorted(pairs) == [(2, 3), (4, 5)]


def test_a_uid_need_not_be_valid_unicode() -> None:
    window = Window(max_samples=100)
    uids = ["sys:\udce9", "sys:\ud800"]
    sampler = BatchSampler(np.array([100, 100]), uids, batch_samples=400, window=window, seed=0)
    assert sorted(leads(next(sampler.plans()))) == [0, 1]


def test_the_batches_of_a_step_know_of_each_other_across_epochs() -> None:
    window = Window(max_samples=100)
    sampler = BatchSampler(
        np.full(9, 100), list("abcdefghi"), batch_samples=400, window=window, seed=0, accumulate=2
    )
    plans = list(islice(sampler.plans(), 6))
    assert [plan.after for plan in plans] == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    for first, second in zip(plans[::2], plans[1::2], strict=True):
        both = [*first.recordings, *second.recordings]
        assert first.all_recordings.tolist() == second.all_recordings.tolist() == both
