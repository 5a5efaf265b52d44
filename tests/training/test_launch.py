"""Training as it is launched in several processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from urgentmos.config import save_config
from urgentmos.model.checkpoint import load_model

from .conftest import MakeRun

LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2", "--master-port"],
    # Without a GPU this is how accelerate starts two processes on one machine.
    "accelerate launch": [
        "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port",
    ],
}  # fmt: skip


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_command_trains_in_two_processes(
    launcher: str, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(steps=2)
    save_config(run, tmp_path / "run.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", *LAUNCHERS[launcher], port, "-m", "urgentmos", "train"]
    # Without a GPU nobody sets ACCELERATE_USE_CPU; where there is one, this test is not for it.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("ACCELERATE_USE_CPU", None)
    if torch.accelerator.is_available():
        environment["ACCELERATE_USE_CPU"] = "true"
    done = subprocess.run(
        [*command, str(tmp_path / "run.yaml")],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("hold the models") == 1
    assert "destroy_process_group" not in done.stderr
    folder = Path(run.output)
    assert json.loads((folder / "run.json").read_text())["num_processes"] == 2
    assert set(load_model(folder / "final").metrics) == set(run.model.metrics)


def test_a_user_without_a_name_can_train(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(steps=1)
    save_config(run, tmp_path / "run.yaml")
    # As for the numbers that containers run under: there is no name for them.
    nameless = (
        "import pwd, runpy, sys\n"
        "def missing(number): raise KeyError(f'getpwuid(): uid not found: {number}')\n"
        "pwd.getpwuid = missing\n"
        "sys.argv = ['urgentmos', 'train', sys.argv[1]]\n"
        "runpy.run_module('urgentmos', run_name='__main__')\n"
    )
    names = ("LOGNAME", "USER", "LNAME", "USERNAME", "TORCHINDUCTOR_CACHE_DIR")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [sys.executable, "-c", nameless, str(tmp_path / "run.yaml")],
        env=environment | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "hold" in done.stdout
