import json
from pathlib import Path

import numpy as np
import pytest
import torch

from urgentmos.data.features import FeatureStore, open_features

STATES = np.arange(6 * 3 * 2, dtype=np.float16).reshape(6, 3, 2)


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """Two recordings of four and two frames, three layers, width two; the second stored first."""
    path = tmp_path / "encoder-0123"
    path.with_name("encoder-0123.f16").write_bytes(STATES.tobytes())
    content = {"layers": 3, "dim": 2, "begins": [2, 0], "frames": [4, 2]}
    path.with_name("encoder-0123.json").write_text(json.dumps(content))
    return path


def open_store(path: Path, **options: list[int]) -> FeatureStore:
    store = open_features(path, **options)
    assert store is not None
    return store


def test_whole_recordings_come_back_with_zeros_after_the_shorter(store_path: Path) -> None:
    states = open_store(store_path).read(np.array([0, 1]))
    assert states.lengths.tolist() == [4, 2]
    assert torch.equal(
        states.hidden_states[0], torch.from_numpy(STATES[2:]).float().transpose(0, 1)
    )
    assert torch.equal(
        states.hidden_states[1, :, :2], torch.from_numpy(STATES[:2]).float().transpose(0, 1)
    )
    assert not states.hidden_states[1, :, 2:].any()


@pytest.mark.parametrize(
    ("span", "frames"),
    [((0.5, 1.0), slice(4, 6)), ((0.0, 0.01), slice(2, 3)), ((1.0, 1.0), slice(5, 6))],
)
def test_a_part_is_read_by_its_share_and_never_empty(
    store_path: Path, span: tuple[float, float], frames: slice
) -> None:
    states = open_store(store_path).read(np.array([0]), np.array([span]))
    assert torch.equal(
        states.hidden_states[0], torch.from_numpy(STATES[frames]).float().transpose(0, 1)
    )


def test_only_the_chosen_layers_are_read(store_path: Path) -> None:
    states = open_store(store_path, selected=[2, 0]).read(np.array([1]))
    assert states.hidden_states[0, 0].tolist() == STATES[:2, 2].tolist()
    assert states.hidden_states[0, 1].tolist() == STATES[:2, 0].tolist()


def test_a_selection_renumbers_recordings(store_path: Path) -> None:
    store = open_store(store_path)
    selected = store.select(np.array([1]))
    assert torch.equal(
        selected.read(np.array([0])).hidden_states, store.read(np.array([1])).hidden_states
    )


def test_moments_are_those_of_all_frames(store_path: Path) -> None:
    mean, std = open_store(store_path).moments()
    assert torch.allclose(mean, torch.from_numpy(STATES).float().mean(0))
    assert torch.allclose(std, torch.from_numpy(STATES).float().std(0))


def test_a_store_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert open_features(tmp_path / "encoder-0123") is None
