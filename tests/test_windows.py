import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from urgentmos.windows import (
    HOP_S,
    SHORTEST_S,
    WINDOW_S,
    Window,
    combine_scores,
    cut_windows,
    in_step,
    meet,
    plan_windows,
)

RATE = 100
LENGTH, HOP = round(WINDOW_S * RATE), round(HOP_S * RATE)
SHORTEST = round(SHORTEST_S * RATE)


def _cut(num_samples: int, block: int) -> list[Window]:
    waveform = np.arange(num_samples, dtype=np.float32)
    blocks = [waveform[start : start + block] for start in range(0, num_samples, block)]
    return list(cut_windows(blocks, sample_rate=RATE))


@settings(max_examples=60, deadline=None)
@given(num_samples=st.integers(1, 5 * LENGTH), block=st.integers(1, 2 * LENGTH))
def test_windows_cover_the_recording_and_their_times_add_up_to_it(
    num_samples: int, block: int
) -> None:
    windows = _cut(num_samples, max(block, num_samples // 200))
    for window in windows:
        start, end = round(window.start_s * RATE), round(window.end_s * RATE)
        np.testing.assert_array_equal(window.waveform, np.arange(start, end, dtype=np.float32))
        assert window.weight_s > 0
    assert windows[0].start_s == 0
    assert windows[-1].end_s == num_samples / RATE
    assert all(a.end_s >= b.start_s for a, b in itertools.pairwise(windows))
    assert sum(window.weight_s for window in windows) == pytest.approx(num_samples / RATE)


@settings(max_examples=60, deadline=None)
@given(num_samples=st.integers(1, 6 * LENGTH))
@example(num_samples=LENGTH)
@example(num_samples=LENGTH + 1)
@example(num_samples=LENGTH + HOP)
@example(num_samples=LENGTH + HOP + 1)
def test_a_recording_in_memory_has_the_windows_of_one_that_is_decoded(num_samples: int) -> None:
    streamed = _cut(num_samples, LENGTH)
    planned = plan_windows(num_samples, sample_rate=RATE)
    assert [(start / RATE, end / RATE) for start, end, _ in planned] == [
        (window.start_s, window.end_s) for window in streamed
    ]
    for stretch, window in zip(planned, streamed, strict=True):
        assert stretch.weight_s == pytest.approx(window.weight_s)


def test_steps_repeat_windows_in_place_and_leave_none_out() -> None:
    assert list(in_step("ab", num_windows=2, num_steps=4)) == ["a", "a", "b", "b"]
    assert list(in_step("abc", num_windows=3, num_steps=3)) == ["a", "b", "c"]
    assert list(in_step("abc", num_windows=3, num_steps=4)) == ["a", "a", "b", "c"]


def test_the_shorter_of_two_recordings_repeats_windows_whichever_comes_first() -> None:
    assert list(meet("ab", "wxyz")) == [("a", "w"), ("a", "x"), ("b", "y"), ("b", "z")]
    assert list(meet("wxyz", "ab")) == [("w", "a"), ("x", "a"), ("y", "b"), ("z", "b")]


def test_windows_are_of_16_s_start_every_15_s_and_last_8_s_at_least() -> None:
    # In figures, since the scores of long recordings hang on them.
    assert plan_windows(17 * RATE, sample_rate=RATE) == [(0, 16 * RATE, 12.5), (900, 1700, 4.5)]
    assert [start / RATE for start, _, _ in plan_windows(60 * RATE, sample_rate=RATE)] == [
        *(0.0, 15.0, 30.0, 45.0),
    ]


def test_up_to_the_window_length_it_is_one_piece() -> None:
    assert [len(window.waveform) for window in _cut(LENGTH, 7)] == [LENGTH]
    assert [len(window.waveform) for window in _cut(LENGTH + 1, 7)] == [LENGTH, SHORTEST]


def test_windows_start_every_hop_and_the_last_ends_with_the_recording() -> None:
    windows = _cut(2 * HOP + SHORTEST + RATE, 64)
    assert [window.start_s for window in windows] == [0, HOP_S, 2 * HOP_S]
    assert windows[-1].end_s == 2 * HOP_S + SHORTEST_S + 1


def test_a_last_window_that_would_be_too_short_starts_earlier() -> None:
    windows = _cut(LENGTH + 2 * HOP + RATE, 64)
    assert [window.start_s for window in windows[:-1]] == [0, HOP_S, 2 * HOP_S]
    assert len(windows[-1].waveform) == SHORTEST


def test_blocks_do_not_matter() -> None:
    reference = _cut(3 * LENGTH + 11, 3 * LENGTH + 11)
    for block in (1, 999, LENGTH, 2 * LENGTH + 1):
        for a, b in zip(reference, _cut(3 * LENGTH + 11, block), strict=True):
            np.testing.assert_array_equal(a.waveform, b.waveform)
            assert (a.start_s, a.end_s, a.weight_s) == (b.start_s, b.end_s, b.weight_s)


def test_overlapping_time_is_parted_in_the_middle() -> None:
    overlap = WINDOW_S - HOP_S
    first, second = _cut(LENGTH + HOP, 64)
    assert first.weight_s == pytest.approx(WINDOW_S - overlap / 2)
    assert second.weight_s == pytest.approx(WINDOW_S - overlap / 2)


def test_scores_are_weighted_by_time() -> None:
    combined = combine_scores([{"mos": 2.0, "sdr": 0.0}, {"mos": 4.0, "sdr": 8.0}], [3.0, 1.0])
    assert combined == {"mos": 2.5, "sdr": 2.0}
