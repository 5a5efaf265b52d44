"""Tests of how far labels move with what nobody can hear (recipes/default/label_jitter.py)."""

import numpy as np
import pytest

from .conftest import load_script

JITTER = load_script("default/label_jitter.py")


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(0)


def test_no_model_that_does_not_hear_the_jitter_is_above_the_highest_lcc(
    rng: np.random.Generator,
) -> None:
    quality = rng.normal(size=20_000)
    labels, moved = (quality + rng.normal(scale=0.5, size=20_000) for _ in range(2))

    highest = JITTER.highest_lcc(labels, moved)
    assert highest == pytest.approx(np.corrcoef(quality, labels)[0, 1], abs=0.01)


def test_labels_that_do_not_move_can_be_followed_entirely(rng: np.random.Generator) -> None:
    labels = rng.normal(size=50)

    assert JITTER.highest_lcc(labels, labels) == 1


def test_versions_are_what_they_are_called(rng: np.random.Generator) -> None:
    waveform = rng.uniform(-0.5, 0.5, 1600).astype(np.float32)

    assert np.array_equal(JITTER.cut(5)(waveform), waveform[80:])
    assert np.allclose(JITTER.amplified(-6)(waveform), 0.5012 * waveform, atol=1e-4)
    assert np.abs(JITTER.amplified(20)(waveform)).max() == 1
