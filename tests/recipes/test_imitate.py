"""The default recipe's small copy of Distill-MOS's trunk: it learns, and takes another's heads."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from urgentmos.config import from_dict, save_config, to_dict
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.network import build_assessor
from urgentmos.training.config import RunConfig

from .conftest import RECIPES

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
        "objectives": {"imitation": 1.0},
        "teacher": {"encoder": to_dict(TRUNK), "layers": [0, 4, 7], "pupil": 2},
        "output": "unused",
    }  # fmt: skip
    save_config(from_dict(RunConfig, run, where="run"), folder / "run.yaml")
    return folder / "run.yaml"


def imitate(run: Path, heads: Path, output: Path, *, steps: int) -> float:
    """Run the recipe; what is left of the states' variance on the validation recordings."""
    command = [
        sys.executable, str(RECIPES / "default" / "imitate.py"), str(run), "--heads", str(heads),
        "--output", str(output), "--steps", str(steps),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (left,) = re.findall(rf"^{steps}: left on validation: states ([\d.]+)", done.stdout, re.M)
    return float(left)


def test_the_copy_learns_and_the_rest_is_that_of_the_model_with_the_trunk(
    tmp_path: Path, tiny_config: ModelConfig, speech: Callable[..., np.ndarray]
) -> None:
    with_trunk = replace(tiny_config, encoders=[*tiny_config.encoders, TRUNK])
    torch.manual_seed(0)
    original = build_assessor(with_trunk)
    with torch.no_grad():
        original.fusion.mixes[2].weights.copy_(torch.linspace(-1, 1, 8))
    save_model(tmp_path / "heads", original, with_trunk, {})
    copied = replace(tiny_config, encoders=[*tiny_config.encoders, COPY])
    run = write_run(tmp_path, copied, speech)

    early = imitate(run, tmp_path / "heads", tmp_path / "early", steps=1)
    late = imitate(run, tmp_path / "heads", tmp_path / "late", steps=60)
    assert late < 0.9 * early

    network = load_model(tmp_path / "late" / "model").network
    theirs = original.state_dict()
    for name, tensor in network.state_dict().items():
        if not name.startswith("encoders.2.") and name != "fusion.mixes.2.weights":
            assert torch.equal(tensor, theirs[name]), name
    shares = original.fusion.mixes[2].weights.softmax(dim=0)
    expected = torch.stack([shares[:1].sum(), shares[1:5].sum(), shares[5:].sum()])
    torch.testing.assert_close(network.fusion.mixes[2].weights.softmax(dim=0), expected)
