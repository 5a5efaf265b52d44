import numpy as np
import pytest

from urgentmos.correlation import srcc
from urgentmos.evaluation.bootstrap import (
    Resampling,
    Unit,
    accuracy_difference,
    accuracy_interval,
    pair_weights,
    statistic_difference,
)
from urgentmos.ndarray import NDArray

Orders = NDArray[np.bool_]
Members = NDArray[np.int64]

CHAIN = np.stack([np.arange(0, 400, 2), np.arange(1, 400, 2)], axis=1)


def test_accuracy_interval_of_separate_pairs_is_the_binomial_one() -> None:
    correct = np.arange(200) < 150
    interval = accuracy_interval(correct, CHAIN, unit="pair", resampling=Resampling(2000))
    half_width = 1.96 * np.sqrt(0.75 * 0.25 / 200)
    assert interval.value == 0.75
    assert interval.low == pytest.approx(0.75 - half_width, abs=0.012)
    assert interval.high == pytest.approx(0.75 + half_width, abs=0.012)


@pytest.mark.parametrize("unit", ["recording", "pair"])
def test_pairs_that_share_recordings_get_a_wider_interval_than_if_they_were_independent(
    unit: Unit,
) -> None:
    """One recording in twenty is misjudged, and with it all nineteen pairs that hold it."""
    pairs = np.array([(i, j) for i in range(20) for j in range(i)])
    correct = ~(pairs == 7).any(axis=1)
    shared = accuracy_interval(correct, pairs, unit=unit)
    apart = accuracy_interval(correct, CHAIN[: len(pairs)], unit="pair")
    assert shared.high - shared.low > 2 * (apart.high - apart.low)
    assert 0 <= shared.low < shared.high <= 1


def test_intervals_of_sampled_pairs_hold_the_truth_nineteen_times_in_twenty() -> None:
    """300 pairs of 80 recordings; drawn as if they were independent, they hold it 16 times."""
    generator = np.random.default_rng(0)

    def judge(num_recordings: int, num_pairs: int) -> tuple[Orders, Orders, Members]:
        quality = generator.normal(size=num_recordings)
        rating, first, second = quality + 0.6 * generator.normal(size=(3, num_recordings))
        pairs = generator.integers(0, num_recordings, (num_pairs, 2))
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        gaps = (values[pairs[:, 0]] - values[pairs[:, 1]] for values in (rating, first, second))
        listeners, by_first, by_second = (gap > 0 for gap in gaps)
        return listeners == by_first, listeners == by_second, pairs

    truth = judge(100_000, 500_000)[0].mean()
    held, same = [], []
    for seed in range(100):
        first, second, pairs = judge(80, 300)
        resampling = Resampling(200, seed)
        interval = accuracy_interval(first, pairs, unit="pair", resampling=resampling)
        gain = accuracy_difference(first, second, pairs, unit="pair", resampling=resampling)
        held.append(interval.low <= truth <= interval.high)
        same.append(gain.low <= 0 <= gain.high)
    assert np.mean(held) >= 0.88
    assert np.mean(same) >= 0.88


def test_a_pair_judged_twice_counts_as_one_judged_pair() -> None:
    correct = np.arange(100) < 75
    once = accuracy_interval(correct, CHAIN[:100], unit="pair")
    pairs = np.concatenate([CHAIN[:100], CHAIN[:100, ::-1]])
    twice = accuracy_interval(np.tile(correct, 2), pairs, unit="pair")
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.1)


def test_recording_weights_count_a_pair_as_often_as_both_members_were_drawn() -> None:
    pairs = np.array([[0, 1], [1, 2], [0, 2]])
    for weights in pair_weights(pairs, unit="recording", resampling=Resampling(50)):
        # Counts n0, n1, n2 with sum 3 and the three products give every symmetric function.
        assert weights.sum() <= 3.0
        assert np.prod(weights) == round(np.sqrt(np.prod(weights))) ** 2


def test_a_predictor_does_not_differ_from_itself() -> None:
    correct = np.arange(200) % 3 > 0
    difference = accuracy_difference(correct, correct, CHAIN, unit="pair")
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
    assert difference.p_value == 1.0


def test_a_clear_gain_is_significant_and_its_mirror_is_the_loss() -> None:
    first, second = np.arange(200) < 180, np.arange(200) < 140
    gain = accuracy_difference(first, second, CHAIN, unit="pair")
    loss = accuracy_difference(second, first, CHAIN, unit="pair")
    assert gain.value == pytest.approx(0.2)
    assert gain.low > 0.1
    assert gain.p_value < 0.01
    assert (loss.value, loss.low, loss.high) == pytest.approx((-0.2, -gain.high, -gain.low))


def test_a_small_gain_on_few_pairs_is_not_significant() -> None:
    first, second = np.arange(20) < 15, np.arange(20) >= 6
    difference = accuracy_difference(first, second, CHAIN[:20], unit="pair")
    assert difference.value == pytest.approx(0.05)
    assert difference.p_value > 0.5


def test_without_resamples_nothing_is_said_of_significance() -> None:
    correct = np.arange(200) < 150
    difference = accuracy_difference(
        correct, ~correct, CHAIN, unit="pair", resampling=Resampling(0)
    )
    assert difference.value == pytest.approx(0.5)
    assert np.isnan([difference.low, difference.high, difference.p_value]).all()


def test_a_predictor_that_does_not_vary_has_no_difference() -> None:
    ratings, scores = np.arange(9.0), np.arange(9.0)
    difference = statistic_difference(srcc, ratings=ratings, first=scores, second=np.ones(9))
    assert np.isnan([difference.value, difference.low, difference.p_value]).all()


def test_comparing_on_no_pairs_is_an_error() -> None:
    nothing = np.zeros(0, dtype=bool)
    with pytest.raises(ValueError, match="at least one pair"):
        accuracy_difference(nothing, nothing, np.zeros((0, 2), dtype=int), unit="pair")


def test_paired_correlation_difference_is_narrower_than_the_two_intervals_apart() -> None:
    generator = np.random.default_rng(0)
    ratings = generator.normal(size=100)
    shared = generator.normal(size=100)
    first = ratings + shared
    second = ratings + shared + 0.3 * generator.normal(size=100)
    difference = statistic_difference(srcc, ratings=ratings, first=first, second=second)
    assert difference.value > 0
    assert difference.high - difference.low < 0.12
