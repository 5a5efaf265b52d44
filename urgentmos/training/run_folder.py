"""The run folder: what was run, how it went, and the models that came out.

::

    config.yaml    the resolved configuration
    run.json       versions, commit, data digest, number of processes
    history.jsonl  one line of figures per validation
    curves/        TensorBoard
    last/          checkpoint to resume from
    best/          model with the best validation figure
    final/         model after the last step
"""

import contextlib
import json
import math
import platform
import subprocess
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from urgentmos.config import differences, load_config, save_config, to_dict
from urgentmos.extras import require
from urgentmos.file_lock import lock_folder
from urgentmos.model.checkpoint import save_model
from urgentmos.model.network import AssessorNetwork
from urgentmos.training.config import RunConfig
from urgentmos.training.run_state import RunStateError, whole_checkpoint
from urgentmos.whole_file import write_whole
from urgentmos.whole_lines import read_whole_lines

_PACKAGES = ("urgentmos", "torch", "numpy", "accelerate", "transformers")


class RunFolder:
    """A run's folder.

    Args:
        path: Where it is.
        write: Whether this process writes it; the others only read.
    """

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        self.last = path / "last"
        self._write = write

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs from writing the folder, once it is there.

        Raises:
            FileLockedError: Another run is writing it.
        """
        if not self._write or not self.path.exists():
            yield
            return
        with lock_folder(self.path):
            yield

    def start(self, config: RunConfig, *, digest: str, num_processes: int) -> None:
        """Begin a run.

        Raises:
            RunStateError: The folder holds another run's checkpoint or final model.
        """
        if self._has_checkpoint():
            raise RunStateError(
                f"{self.path} already holds a run; resume it with --resume, or name another output"
            )
        if (self.path / "final").exists():
            raise RunStateError(f"{self.path} already holds a final model; name another output")
        if not self._write:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self.cut_history(0)
        save_config(config, self.path / "config.yaml")
        record = {
            "data_digest": digest,
            "num_processes": num_processes,
            "commit": _commit(),
            "python": platform.python_version(),
            "versions": _versions(),
            "threads": torch.get_num_threads(),
        }
        # Whole or not there: what a full disk left of it could not be resumed from.
        write_whole(self.path / "run.json", json.dumps(record, indent=2) + "\n")

    def is_resumable(self, *, digest: str, num_processes: int) -> bool:
        """Whether there is a checkpoint to go on from; without one the run begins anew.

        Raises:
            RunStateError: What is there is another run's, by its data or number of processes, or
                models that a run which begins anew would write over, or ``run.json`` is damaged.
        """
        path = self.path / "run.json"
        saved = self._has_checkpoint()
        if path.exists():
            stated = {"data_digest": digest, "num_processes": num_processes}
            record = _read_record(path, names=stated)
            for name, got in stated.items():
                if record[name] != got:
                    raise RunStateError(
                        f"{path}: {name} was {record[name]} and is now {got}; a resumed run must "
                        "be the same run. Name another output to start afresh"
                    )
        elif saved or (self.path / "best").exists():
            raise RunStateError(
                f"{self.path} holds models but no run.json that says of which run; "
                "name another output"
            )
        if not saved and (self.path / "final").exists():
            raise RunStateError(
                f"{self.path} holds a final model but nothing to resume from; name another output"
            )
        return saved

    def _has_checkpoint(self) -> bool:
        return (whole_checkpoint(self.last) / "state.json").exists()

    def changes(self, config: RunConfig) -> list[str]:
        """Name the settings in which a resumed run differs from what it began with."""
        return differences(load_config(RunConfig, self.path / "config.yaml"), config)

    @contextlib.contextmanager
    def curves(self, *, first_step: int) -> Iterator[Any]:
        """Open the TensorBoard curves; processes that do not write get a stand-in.

        Args:
            first_step: What a run that was killed wrote from this step on is no longer shown.
        """
        if not self._write:
            yield _NoCurves()
            return
        tensorboard = require("torch.utils.tensorboard", extra="train")
        writer = tensorboard.SummaryWriter(str(self.path / "curves"), purge_step=first_step)
        try:
            yield writer
        finally:
            writer.close()

    def add_history(self, step: int, figures: dict[str, float]) -> None:
        """Append one validation; a figure that does not exist (NaN) is null."""
        known = {name: None if math.isnan(value) else value for name, value in figures.items()}
        with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **known}) + "\n")

    def cut_history(self, step: int) -> None:
        """Drop the validations after a step: a run that was killed beyond it makes them again.

        Raises:
            RunStateError: A line is no validation.
        """
        path = self.path / "history.jsonl"
        if not self._write or not path.exists():
            return
        try:
            whole = read_whole_lines(path)
        except UnicodeDecodeError as error:
            raise RunStateError(f"{path} is damaged: {error}") from error
        kept = [line for n, line in enumerate(whole, start=1) if _step_of(line, n, path) <= step]
        write_whole(path, "".join(f"{line}\n" for line in kept))

    def export(
        self, name: str, network: AssessorNetwork, config: RunConfig, card: dict[str, Any]
    ) -> None:
        """Write a model that scoring can load."""
        card = {**card, "run": to_dict(config)}
        save_model(self.path / name, network, config.model, card)


class _NoCurves:
    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Write nothing."""


def _read_record(path: Path, *, names: Iterable[str]) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:
        raise RunStateError(f"{path} is damaged: {error}") from error
    if not isinstance(record, dict):
        raise RunStateError(f"{path} is damaged: expected keys and values, got {record!r}")
    for name in names:
        if name not in record:
            raise RunStateError(f"{path} is damaged: key {name!r} is missing")
    return record


def _step_of(line: str, number: int, path: Path) -> int:
    """Read the step of a validation, line ``number`` of a history."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError):
        step = None
    if not isinstance(step, int):
        raise RunStateError(f"{path} is damaged: line {number} is no validation; take it out")
    return step


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _commit() -> str | None:
    """Name the git commit of this code, with ``+`` if files have changed; None without git."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
