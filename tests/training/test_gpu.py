"""A run on a GPU: everything that it touches is there, and it goes on where it stopped."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import Tensor

from urgentmos.data.sampler import Progress
from urgentmos.metrics import METRICS
from urgentmos.model.checkpoint import load_model
from urgentmos.training.config import RunConfig
from urgentmos.training.trainer import Trainer

from .conftest import ALL_OBJECTIVES, MakeRun, loss_around_training, train_whole_and_in_parts


@pytest.fixture(autouse=True)
def on_gpu(gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Accelerate chooses its device once for all trainers of a process."""
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def last(run: RunConfig, name: str) -> dict[str, Tensor]:
    return load_file(Path(run.output) / "last" / f"{name}.safetensors")


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The mean over all weights of how far each is from itself."""
    assert a.keys() == b.keys()
    return float(torch.cat([(a[name] - b[name]).flatten().abs() for name in a]).mean())


def test_two_steps_and_two_after_a_restart_are_nearly_four(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """Sums come in no fixed order, and AdamW makes whole steps of gradients that are noise."""
    whole, parts, halfway = train_whole_and_in_parts(make_run, tmp_path)
    moved = distance(last(whole, "model"), halfway)
    # 0.02 if each gradient is off by 1e-6 of its largest, 0.07 if dropout is not as it was.
    assert distance(last(whole, "model"), last(parts, "model")) < 0.05 * moved
    once, twice = (last(run, "random_0") for run in (whole, parts))
    assert once.keys() == {"cpu", "cuda"}
    assert all(torch.equal(once[name], twice[name]) for name in once)
    counters = [
        json.loads((Path(run.output) / "last/state.json").read_text()) for run in (whole, parts)
    ]
    assert len({tuple(each[name] for name in ("step", "epoch", "batch")) for each in counters}) == 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_it_trains_scores_alike_on_a_processor(
    make_run: MakeRun, gpu: torch.device, precision: str
) -> None:
    run = make_run(
        precision=precision,
        steps=3,
        validate_every=1,
        objectives=ALL_OBJECTIVES,
        data={"workers": 1},
        optimizer={"ema_decay": 0.9},
    )
    trainer = Trainer(run)
    assert trainer._accelerator.device.type == gpu.type
    assert next(trainer.network.parameters()).device.type == gpu.type
    trainer.train()
    waveform = 0.1 * np.random.default_rng(0).standard_normal(16_000, dtype=np.float32)
    for name in ("best", "final"):
        assessor = load_model(Path(run.output) / name)
        assert assessor.device.type == "cpu"
        scores = assessor.score(waveform, 16000)
        there = assessor.to(gpu).score(waveform, 16000)
        assert set(scores) == set(run.model.metrics)
        for metric, score in scores.items():
            bound = 1e-4 * METRICS[metric].scale
            torch.testing.assert_close(there[metric].cpu(), score, atol=bound, rtol=0)


def test_it_learns_as_on_a_processor(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    for place in ("gpu", "processor"):
        if place == "processor":
            monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
            AcceleratorState._reset_state(reset_partial_state=True)
        trainer = Trainer(make_run(steps=20, output=str(tmp_path / place), log_every=20))
        batch = next(trainer._batches(Progress())).to(trainer._accelerator.device)
        losses.append(loss_around_training(trainer, batch, "absolute"))
    (before, after), (before_there, after_there) = losses
    # As torch comes, with TF32.
    assert before == pytest.approx(before_there, rel=5e-3)
    assert after == pytest.approx(after_there, rel=0.05)
    assert after < 0.9 * before
