from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from urgentmos.config import ConfigError
from urgentmos.model.checkpoint import CheckpointError, save_model
from urgentmos.model.config import ModelConfig
from urgentmos.model.network import build_assessor
from urgentmos.training.start_from import start_from


@pytest.fixture
def saved(tmp_path: Path, tiny_config: ModelConfig) -> Path:
    torch.manual_seed(1)
    save_model(tmp_path / "model", build_assessor(tiny_config), tiny_config, {})
    return tmp_path / "model"


def test_an_equal_architecture_takes_every_weight(saved: Path, tiny_config: ModelConfig) -> None:
    torch.manual_seed(2)
    network = build_assessor(tiny_config)
    first = next(network.parameters()).clone()
    started = start_from(network, saved)
    assert not started.random
    assert not started.unused
    assert not torch.equal(first, next(network.parameters()))


def test_weights_of_another_shape_stay_random_and_are_named(
    saved: Path, tiny_config: ModelConfig
) -> None:
    group = next(iter(tiny_config.groups))
    wider = replace(tiny_config.groups[group], feedforward=24)
    network = build_assessor(replace(tiny_config, groups={**tiny_config.groups, group: wider}))
    started = start_from(network, saved)
    assert any(name.startswith(f"groups.{group}.") for name in started.random)
    assert started.taken
    assert set(started.random) <= set(started.unused)


def test_a_model_of_which_nothing_fits_is_refused(tmp_path: Path, tiny_config: ModelConfig) -> None:
    save_file({"other.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="another architecture"):
        start_from(build_assessor(tiny_config), tmp_path)


def test_weights_that_cannot_be_read_are_refused_in_words(
    tmp_path: Path, tiny_config: ModelConfig
) -> None:
    network = build_assessor(tiny_config)
    with pytest.raises(CheckpointError, match="no folder 'nowhere' here"):
        start_from(network, "nowhere")
    with pytest.raises(ConfigError, match=r"start_from: .*model\.safetensors cannot be read"):
        start_from(network, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(ConfigError, match=r"start_from: .*model\.safetensors cannot be read"):
        start_from(network, tmp_path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda weight: weight.fill_(float("nan")), "has values that are not finite"),
        (lambda weight: weight.double().fill_(1e300), "has values that are not finite"),
        (lambda weight: weight.to(torch.int8), "quantised weights are not read"),
    ],
)
def test_weights_that_would_spoil_the_run_are_refused(
    saved: Path, tiny_config: ModelConfig, spoil: Callable[[Tensor], Tensor], told: str
) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["fusion.norm.weight"] = spoil(weights["fusion.norm.weight"])
    save_file(weights, saved / "model.safetensors")
    network = build_assessor(tiny_config)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    with pytest.raises(ConfigError, match=rf"start_from: .*: fusion\.norm\.weight .*{told}"):
        start_from(network, saved)
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())


def test_an_encoder_that_brings_its_weights_has_no_random_ones(
    saved: Path, tiny_config: ModelConfig
) -> None:
    twice = replace(tiny_config, encoders=[*tiny_config.encoders, tiny_config.encoders[0]])
    added = f"encoders.{len(tiny_config.encoders)}."
    network = build_assessor(twice)
    number = len(tiny_config.encoders)
    assert any(name.startswith(added) for name in start_from(network, saved).random)
    random = start_from(network, saved, bringing=[number]).random
    assert random
    assert not any(name.startswith(added) for name in random)
