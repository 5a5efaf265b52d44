import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from urgentmos.config import from_dict, save_config, to_dict
from urgentmos.data.dataset import Batch
from urgentmos.model.config import ModelConfig
from urgentmos.training.config import RunConfig
from urgentmos.training.trainer import Trainer

MakeRun = Callable[..., RunConfig]
TrainInTwoProcesses = Callable[..., None]

ALL_OBJECTIVES = {
    "absolute": 0.4, "preference": 0.3, "bradley_terry": 0.2, "qamro": 0.1, "regression": "huber",
    "bradley_terry_weighting": "mos_difference", "reference_spectra": 0.1,
}  # fmt: skip

_WORKER = """
import sys
import torch
torch.set_num_threads(1)
from urgentmos.config import load_config
from urgentmos.training.config import RunConfig
from urgentmos.training.trainer import Trainer
trainer = Trainer(load_config(RunConfig, sys.argv[1]), resume=sys.argv[3] == "resume")
trainer.train(until=int(sys.argv[2]))
trainer.close()
"""


def train_whole_and_in_parts(
    make_run: MakeRun, folder: Path
) -> tuple[RunConfig, RunConfig, dict[str, torch.Tensor]]:
    """Train four steps, and two and two more after a restart; give both, and weights halfway."""
    options = {
        "dropout": 0.2, "objectives": ALL_OBJECTIVES, "data": {"min_share": 0.6},
        "optimizer": {"schedule": "cosine", "warmup_steps": 1, "ema_decay": 0.9, "accumulate": 2},
    }  # fmt: skip
    whole = make_run(output=str(folder / "whole"), **options)
    parts = make_run(output=str(folder / "parts"), **options)
    Trainer(whole).train()
    Trainer(parts).train(until=2)
    halfway = load_file(Path(parts.output) / "last" / "model.safetensors")
    torch.manual_seed(99)
    assert Trainer(parts, resume=True).train().step == 4
    return whole, parts, halfway


def loss_around_training(trainer: Trainer, batch: Batch, term: str) -> tuple[float, float]:
    """Train, and give one of the losses of a batch before and after it."""

    def value() -> float:
        with torch.no_grad():
            return float(trainer._module(batch)[1][term])

    before = value()
    trainer.train()
    return before, value()


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of 0.4 s: four contents, each at three strengths of noise, partly labelled."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines = []
    for content in range(4):
        tone = np.sin(2 * np.pi * (200 + 150 * content) * np.arange(6400) / 16000)
        for step in range(3):
            name = f"{content}_{step}.wav"
            noisy = 0.2 * tone + (0.005 + 0.1 * step) * rng.standard_normal(6400)
            soundfile.write(folder / name, noisy.clip(-1, 1), 16000)
            metrics = {"mos_overall": 4.5 - 1.5 * step, "sdr": 20.0 - 10 * step}
            if content % 2:
                metrics |= {"pesq": 4.2 - 1.4 * step, "lsd": 2.0 + step, "estoi": 0.9 - 0.3 * step}
                metrics["lps"] = 0.9 - 0.2 * step
            meta = {
                "family": str(content),
                "strength": step / 2,
                "split": "validation" if content == 3 else "train",
                "reference_path": f"{content}_0.wav",
            }
            lines.append(
                {
                    "audio_path": name,
                    "uid": f"{step}:{content}",
                    "system_id": str(step),
                    "reference_id": str(content),
                    "duration": 0.4,
                    "metrics": metrics,
                    "meta": meta,
                }
            )
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def make_run(manifest: Path, tiny_config: ModelConfig, tmp_path: Path) -> MakeRun:
    """Make a run of the tiny model on the tiny corpus: ``make_run(steps=4, seed=1)``."""

    def make(*, dropout: float = 0.0, **changes: Any) -> RunConfig:
        groups = {
            name: replace(group, dropout=dropout) for name, group in tiny_config.groups.items()
        }
        plain: dict[str, Any] = {
            "model": to_dict(replace(tiny_config, groups=groups)),
            "output": str(tmp_path / "run"),
            "steps": 4,
            "validate_every": 100,
            "save_every": 100,
            "log_every": 2,
        }
        plain |= {key: value for key, value in changes.items() if key not in ("data", "optimizer")}
        plain["data"] = {
            "manifests": [str(manifest)],
            "max_seconds": 0.4,
            "min_seconds": 0.2,
            "batch_seconds": 2.4,
            "pairs": {"ref": 0.5, "any": 0.5},
            **changes.get("data", {}),
        }
        plain["optimizer"] = {"lr": 1e-3, **changes.get("optimizer", {})}
        return from_dict(RunConfig, plain, where="run")

    return make


@pytest.fixture
def train_in_two_processes(tmp_path: Path) -> TrainInTwoProcesses:
    """Train a run in two processes over gloo: ``train(run, until=2, resume=False)``."""

    def train(run: RunConfig, *, until: int | None = None, resume: bool = False) -> None:
        config_path = tmp_path / f"{Path(run.output).name}.yaml"
        save_config(run, config_path)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = [str(config_path), str(until or run.steps), "resume" if resume else "start"]
        workers = []
        for rank in range(2):
            environment = os.environ | {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
                "ACCELERATE_USE_CPU": "true",
            }  # fmt: skip
            command = [sys.executable, "-c", _WORKER, *arguments]
            workers.append(
                subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            )
        for worker in workers:
            _, told = worker.communicate(timeout=600)
            assert worker.returncode == 0, told

    return train
