"""The default recipe's small copy of Distill-MOS's trunk: it learns, and takes another's heads."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from urgentmos.config import from_dict, save_config, to_dict
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.network import build_assessor
from urgentmos.training.config import RunConfig

from .conftest import run_script

pytest.importorskip("distillmos", exc_type=ImportError)

TRUNK = EncoderConfig("distill_mos", {"averaged_frames": 4})
COPY = EncoderConfig(
    "spectral_transformer", {"channels": [8] * 5, "time_strides": [2, 2, 2, 1, 1], "layers": 2}
)


def write_run(folder: Path, model: ModelConfig, speech: Callable[..., np.ndarray]) -> Path:
    lines = []
    for number in range(8):
        soundfile.write(folder / f"{number}.wav", speech(0.6 + 0.1 * number, number), 16000)
        lines.append({
            "audio_path": f"{number}.wav", "uid": f"a:{number}", "system_id": "a",
            "reference_id": str(number), "duration": 0.6 + 0.1 * number,
            "metrics": {"mos_overall": 3.0, "pesq": 2.0, "sdr": 1.0, "lsd": 1.0, "estoi": 0.5,
                        "lps": 0.5},
            "meta": {"split": "validation" if number == 7 else "train"},
        })  # fmt: skip
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = {
        "model": to_dict(model),
        "data": {
            "manifests": [str(manifest)], "features": str(folder / "features"),
            "max_seconds": 2.0, "batch_seconds": 4.0,
        },
        "objectives": {"student_distillation": 1.0},
        "teacher": {"encoder": to_dict(TRUNK), "layers": [0, 4, 7], "student": 2},
        "output": "unused",
    }  # fmt: skip
    save_config(from_dict(RunConfig, run, where="run"), folder / "run.yaml")
    return folder / "run.yaml"


def distill(run: Path, *overrides: str, resume: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the recipe."""
    options = ["--resume"] if resume else []
    return run_script("default/distill.py", run, *overrides, *options)


def left(done: subprocess.CompletedProcess[str]) -> float:
    """What is left of the states' variance on the validation recordings at the end."""
    assert done.returncode == 0, done.stderr
    return float(re.findall(r"left on validation: loss [\d.]+, states ([\d.]+)", done.stdout)[-1])


@pytest.fixture
def heads(tmp_path: Path, tiny_config: ModelConfig) -> Path:
    """A model with the trunk as its third encoder."""
    with_trunk = replace(tiny_config, encoders=[*tiny_config.encoders, TRUNK])
    torch.manual_seed(0)
    network = build_assessor(with_trunk)
    with torch.no_grad():
        network.fusion.mixes[2].weights.copy_(torch.linspace(-1, 1, 8))
    save_model(tmp_path / "heads", network, with_trunk, {})
    return tmp_path / "heads"


@pytest.fixture
def run(tmp_path: Path, tiny_config: ModelConfig, speech: Callable[..., np.ndarray]) -> Path:
    """A run whose model has a copy in the trunk's place."""
    return write_run(tmp_path, replace(tiny_config, encoders=[*tiny_config.encoders, COPY]), speech)


def test_the_copy_learns_and_the_rest_is_that_of_the_model_with_the_trunk(
    tmp_path: Path, run: Path, heads: Path
) -> None:
    start = [f"start_from={heads}", "optimizer.lr=2e-3"]
    early = left(distill(run, *start, f"output={tmp_path}/early", "steps=1"))
    late = left(distill(run, *start, f"output={tmp_path}/late", "steps=60"))
    assert late < 0.9 * early

    network = load_model(tmp_path / "late" / "final").network
    theirs = load_file(heads / "model.safetensors")
    for name, tensor in network.state_dict().items():
        if not name.startswith("encoders.2.") and name != "fusion.mixes.2.weights":
            assert torch.equal(tensor, theirs[name]), name
    shares = theirs["fusion.mixes.2.weights"].softmax(dim=0)
    expected = torch.stack([shares[:1].sum(), shares[1:5].sum(), shares[5:].sum()])
    torch.testing.assert_close(network.fusion.mixes[2].weights.softmax(dim=0), expected)

    further = left(
        distill(run, f"start_from={tmp_path}/late/final", f"output={tmp_path}/further", "steps=1")
    )
    assert further < 1.05 * late


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path, run: Path, heads: Path) -> None:
    stated = [f"start_from={heads}", "optimizer.lr=2e-3", "save_every=2"]
    history = tmp_path / "halves" / "history.jsonl"
    for output, steps in (("whole", [4]), ("halves", [2, 4])):
        for number, last in enumerate(steps):
            if number > 0:  # As of a run that was killed after its third step.
                history.write_text(f'{history.read_text()}{{"step": 3, "states": 1.0}}\n')
            done = distill(
                run, *stated, f"output={tmp_path}/{output}", f"steps={last}", resume=number > 0
            )
            assert done.returncode == 0, done.stderr
    whole, halves = (
        load_file(tmp_path / output / "final" / "model.safetensors")
        for output in ("whole", "halves")
    )
    for name, tensor in whole.items():
        assert torch.equal(tensor, halves[name]), name
    assert [json.loads(line)["step"] for line in history.read_text().splitlines()] == [2, 4]


def test_a_model_without_the_heads_is_refused(
    tmp_path: Path, run: Path, tiny_config: ModelConfig
) -> None:
    fewer = replace(tiny_config, encoders=tiny_config.encoders[:1])
    save_model(tmp_path / "fewer", build_assessor(fewer), fewer, {})
    done = distill(run, f"start_from={tmp_path}/fewer", f"output={tmp_path}/run")
    assert done.returncode == 1
    assert "has no encoders.1." in done.stderr
