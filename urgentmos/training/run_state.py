"""Where a run stands, on disk: weights, optimizer, average, progress and random state.

A folder of safetensors and JSON, without pickle::

    model.safetensors      weights by name
    optimizer.safetensors  AdamW state as PARAMETER/KEY
    average.safetensors    moving average by parameter name, where the run keeps one
    random_RANK.safetensors  torch's random state of each process
    state.json             step, epoch, batch, best figure
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)

from urgentmos.data.sampler import Progress
from urgentmos.tensor_file import read_tensors, save_tensors
from urgentmos.training.optimization import MovingAverage
from urgentmos.training.sharding import gather

# Gathered whole, a state fits any number of processes, sharded or not. Only the first process gets
# one that goes to the processor's memory; every process needs one to load.
_TO_SAVE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_TO_LOAD = StateDictOptions(full_state_dict=True)


class RunStateError(ValueError):
    """A run folder cannot be resumed with this configuration."""


@dataclass
class RunState:
    """Counters of a run.

    Attributes:
        step: Optimizer steps made.
        epoch: Times all recordings have been visited.
        batch: Batches used of this epoch.
        best: Best validation figure so far; None before the first validation.
        best_step: Step it was reached at.
        best_by: Which figure that is; None in states of versions that did not say.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    best_step: int = 0
    best_by: str | None = None

    @property
    def progress(self) -> Progress:
        """Where the data stands."""
        return Progress(self.epoch, self.batch)


def save_run_state(
    folder: Path,
    state: RunState,
    *,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
    rank: int,
    barrier: Any,
) -> None:
    """Write a checkpoint, replacing the one in the folder only once it is whole.

    Every process calls it. ``barrier`` is a callable that waits for all of them.
    """
    partial = folder.with_name(folder.name + ".partial")
    state_dicts = get_state_dict(module, optimizer, options=_TO_SAVE)
    weights: dict[str, Any] = dict(state_dicts[0])
    moments: dict[str, Any] = dict(state_dicts[1])
    averages = [] if average is None else [gather(tensor) for tensor in average.average]
    if rank == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    barrier()
    save_tensors(_random_state(), partial / f"random_{rank}.safetensors")
    if rank == 0:
        save_tensors(_contiguous(weights), partial / "model.safetensors")
        save_tensors(_flat(moments), partial / "optimizer.safetensors")
        if average is not None:
            named = {str(i): tensor for i, tensor in enumerate(averages)}
            save_tensors(_contiguous(named), partial / "average.safetensors")
        (partial / "state.json").write_text(json.dumps(asdict(state), indent=2) + "\n")
    barrier()
    if rank == 0:
        _replace(folder, partial)
    barrier()


def load_run_state(
    folder: Path,
    *,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
    rank: int,
) -> RunState:
    """Restore a checkpoint in place.

    Raises:
        RunStateError: There is none, it is damaged, or it belongs to another model or
            configuration.
    """
    folder = whole_checkpoint(folder)
    if not (folder / "state.json").exists():
        raise RunStateError(f"{folder}: nothing to resume from; start without --resume")
    state = _read_counters(folder / "state.json")
    weights: dict[str, Any] = dict(_read_tensors(folder / "model.safetensors"))
    moments = get_state_dict(module, optimizer, options=_TO_LOAD)[1]
    saved = _read_tensors(folder / "optimizer.safetensors")
    _fill(moments, saved, where=folder / "optimizer.safetensors")
    try:
        set_state_dict(
            module, optimizer, model_state_dict=weights, optim_state_dict=moments, options=_TO_LOAD
        )
    except RuntimeError as error:
        raise RunStateError(f"{folder}: made by another model: {error}") from error
    if average is not None:
        path = folder / "average.safetensors"
        if not path.exists():
            raise RunStateError(f"{path} is missing: that run kept no average (ema_decay: 0)")
        named = _read_tensors(path)
        average.load(named[str(i)] for i in range(len(named)))
    random = folder / f"random_{rank}.safetensors"
    if not random.exists():
        raise RunStateError(f"{random} is missing: the run had fewer processes")
    _restore_random(_read_tensors(random))
    return state


def whole_checkpoint(folder: Path) -> Path:
    """Name the checkpoint to go on from: the folder, or what was to be replaced when killed."""
    replaced = _replaced(folder)
    return replaced if replaced.exists() and not folder.exists() else folder


def _replaced(folder: Path) -> Path:
    return folder.with_name(folder.name + ".replaced")


def _replace(folder: Path, new: Path) -> None:
    """Put a checkpoint in the place of another; one of them is whole at every moment."""
    if folder.exists():
        shutil.rmtree(_replaced(folder), ignore_errors=True)
        os.replace(folder, _replaced(folder))
    os.replace(new, folder)
    shutil.rmtree(_replaced(folder), ignore_errors=True)


def _read_counters(path: Path) -> RunState:
    try:
        return RunState(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise RunStateError(f"{path} is damaged: {error}") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return read_tensors(path)
    except SafetensorError as error:
        raise RunStateError(f"{path} is damaged: {error}") from error


def _flat(moments: dict[str, Any]) -> dict[str, Tensor]:
    flat = {
        f"{name}/{key}": value
        for name, values in moments["state"].items()
        for key, value in values.items()
    }
    return _contiguous(flat)


def _fill(moments: dict[str, Any], saved: dict[str, Tensor], *, where: Path) -> None:
    expected = {name: tensor.shape for name, tensor in _flat(moments).items()}
    found = {name: tensor.shape for name, tensor in saved.items()}
    if expected != found:
        odd = min(name for name, _ in expected.items() ^ found.items())
        raise RunStateError(f"{where}: made by another model or objective: {odd!r} does not match")
    for name, values in moments["state"].items():
        for key in values:
            # The fused optimizer walks through memory: a moment must lie as its weight does, which
            # is channels last in convolutions, while files hold plain order.
            values[key] = torch.empty_like(values[key]).copy_(saved[f"{name}/{key}"])


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def _random_state() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
