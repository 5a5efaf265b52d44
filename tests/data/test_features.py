import numpy as np
import pytest
import torch

from urgentmos.data.array_store import StoredArrays
from urgentmos.data.features import FeatureStore

STATES = np.arange(6 * 3 * 2, dtype=np.float16).reshape(6, 3, 2)


@pytest.fixture
def states() -> StoredArrays:
    """Two recordings of four and two frames, three layers, width two; the second stored first."""
    return StoredArrays(STATES, begins=np.array([2, 0]), counts=np.array([4, 2]))


def test_whole_recordings_come_back_with_zeros_after_the_shorter(states: StoredArrays) -> None:
    read = FeatureStore(states).read(np.array([0, 1]))
    assert read.lengths.tolist() == [4, 2]
    assert torch.equal(read.hidden_states[0], torch.from_numpy(STATES[2:]).float().transpose(0, 1))
    assert torch.equal(
        read.hidden_states[1, :, :2], torch.from_numpy(STATES[:2]).float().transpose(0, 1)
    )
    assert not read.hidden_states[1, :, 2:].any()


@pytest.mark.parametrize(
    ("span", "frames"),
    [((0.5, 1.0), slice(4, 6)), ((0.0, 0.01), slice(2, 3)), ((1.0, 1.0), slice(5, 6))],
)
def test_a_part_is_read_by_its_share_and_never_empty(
    states: StoredArrays, span: tuple[float, float], frames: slice
) -> None:
    read = FeatureStore(states).read(np.array([0]), np.array([span]))
    assert torch.equal(
        read.hidden_states[0], torch.from_numpy(STATES[frames]).float().transpose(0, 1)
    )


def test_only_the_chosen_layers_are_read(states: StoredArrays) -> None:
    read = FeatureStore(states, selected=[2, 0]).read(np.array([1]))
    assert read.hidden_states[0, 0].tolist() == STATES[:2, 2].tolist()
    assert read.hidden_states[0, 1].tolist() == STATES[:2, 0].tolist()


def test_a_selection_renumbers_recordings(states: StoredArrays) -> None:
    store = FeatureStore(states)
    selected = store.select(np.array([1]))
    assert torch.equal(
        selected.read(np.array([0])).hidden_states, store.read(np.array([1])).hidden_states
    )


def test_moments_are_those_of_all_frames(states: StoredArrays) -> None:
    mean, std = FeatureStore(states).moments()
    assert torch.allclose(mean, torch.from_numpy(STATES).float().mean(0))
    assert torch.allclose(std, torch.from_numpy(STATES).float().std(0))


def test_moments_leave_other_recordings_of_the_store_out(states: StoredArrays) -> None:
    mean, std = FeatureStore(states).select(np.array([0])).moments()
    assert torch.allclose(mean, torch.from_numpy(STATES[2:]).float().mean(0))
    assert torch.allclose(std, torch.from_numpy(STATES[2:]).float().std(0))
