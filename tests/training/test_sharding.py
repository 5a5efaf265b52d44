"""Two processes that divide the weights, beside two that each hold all of them."""

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from urgentmos.training.config import RunConfig
from urgentmos.training.trainer import Trainer, TrainingError

from .conftest import MakeRun, TrainInTwoProcesses

OPTIONS = {
    "objectives": {
        "absolute": 0.5,
        "preference": 0.3,
        "bradley_terry": 0.2,
        "reference_spectra": 0.1,
    },
    "data": {"batch_seconds": 1.6},
}


def saved(run: RunConfig, name: str) -> dict[str, torch.Tensor]:
    return load_file(Path(run.output) / f"{name}.safetensors")


def assert_close(
    one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], share: float
) -> None:
    """Compare by the largest value: what is near zero in one may be rounding in the other."""
    assert one.keys() == other.keys()
    largest = max(float(tensor.abs().max()) for tensor in one.values())
    assert largest > 0
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=share * largest)


def test_divided_weights_get_the_gradient_of_undivided_ones(
    make_run: MakeRun, train_in_two_processes: TrainInTwoProcesses, tmp_path: Path
) -> None:
    moments = []
    for sharded in (False, True):
        optimizer = {"clip": 1e6, "accumulate": 2, "ema_decay": 0.5}
        name = "sharded" if sharded else "whole"
        run = make_run(
            sharded=sharded, output=str(tmp_path / name), steps=1, optimizer=optimizer, **OPTIONS
        )
        train_in_two_processes(run)
        moments.append((run, saved(run, "last/optimizer")))
    (whole, expected), (sharded_run, got) = moments
    first = [{n: t for n, t in each.items() if n.endswith("/exp_avg")} for each in (expected, got)]
    assert_close(*first, share=1e-5)
    for name in ("last/model", "last/average", "final/model"):
        assert {n: t.shape for n, t in saved(whole, name).items()} == {
            n: t.shape for n, t in saved(sharded_run, name).items()
        }


@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_resume_where_they_stopped_to_the_bit(
    sharded: bool, make_run: MakeRun, train_in_two_processes: TrainInTwoProcesses, tmp_path: Path
) -> None:
    options = {
        "sharded": sharded, "steps": 3, "dropout": 0.1, "optimizer": {"ema_decay": 0.5}, **OPTIONS,
    }  # fmt: skip
    whole = make_run(output=str(tmp_path / "whole"), **options)
    parts = make_run(output=str(tmp_path / "parts"), **options)
    train_in_two_processes(whole)
    train_in_two_processes(parts, until=2)
    train_in_two_processes(parts, resume=True)
    for name in ("last/model", "last/optimizer", "last/average", "final/model"):
        once, twice = saved(whole, name), saved(parts, name)
        assert once.keys() == twice.keys()
        assert all(torch.equal(once[key], twice[key]) for key in once), name


def test_one_process_has_nobody_to_share_its_weights_with(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(TrainingError, match="sharded: expected several processes"):
        Trainer(make_run(sharded=True))
