from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from urgentmos.config import ConfigError
from urgentmos.model.checkpoint import WEIGHTS_FILE, save_model
from urgentmos.model.config import ModelConfig
from urgentmos.model.network import build_assessor
from urgentmos.training.freeze import freeze
from urgentmos.training.trainer import Trainer

from .conftest import MakeRun


def test_a_part_keeps_its_weights_and_passes_the_gradient(tiny_config: ModelConfig) -> None:
    network = build_assessor(tiny_config)
    freeze(network, ["encoders.1", "fusion"])
    for name, weight in network.named_parameters():
        frozen = name.startswith(("encoders.1.", "fusion."))
        assert weight.requires_grad is not frozen, name
    waveform = torch.randn(1, 16000, requires_grad=True)
    network(waveform, torch.tensor([16000])).scores["mos"].sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.abs().sum() > 0


def test_a_name_is_whole(tiny_config: ModelConfig) -> None:
    # Otherwise encoders.1 would freeze encoders.10, and heads.dnsmos nothing that there is.
    with pytest.raises(ConfigError, match=r"no weights in 'fus'; its parts are encoders\.0, "):
        freeze(build_assessor(tiny_config), ["fus"])


def test_parts_of_random_weights_are_not_frozen(make_run: MakeRun) -> None:
    with pytest.raises(ValueError, match="freeze: what is not trained needs trained weights"):
        make_run(freeze=["fusion"])


def test_a_run_changes_the_other_parts_alone(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(steps=2)
    save_model(tmp_path / "model", build_assessor(run.model), run.model, {})
    run = replace(run, start_from=str(tmp_path / "model"), freeze=["encoders.0"])
    Trainer(run).train()
    before = load_file(tmp_path / "model" / WEIGHTS_FILE)
    after = load_file(Path(run.output) / "final" / WEIGHTS_FILE)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("encoders.0.") for name in changed)
    assert any(name.startswith("groups.") for name in changed)


def test_what_start_from_lacks_is_not_frozen(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(steps=1)
    wider = replace(run.model.groups["naturalness"], feedforward=24)
    other = replace(run.model, groups={**run.model.groups, "naturalness": wider})
    save_model(tmp_path / "model", build_assessor(other), other, {})
    run = replace(run, start_from=str(tmp_path / "model"), freeze=["groups.naturalness"])
    with pytest.raises(ConfigError, match=r"freeze: 3 of \d+ weights in 'groups.naturalness' are"):
        Trainer(run)
    Trainer(replace(run, freeze=["heads.mos"]))
