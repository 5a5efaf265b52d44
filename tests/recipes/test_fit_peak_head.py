"""Giving a model a head that judges as DNSMOS does: all else of the model stays as it is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import nn

from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.peak_head import PeakHead, PeakHeadConfig
from urgentmos.model.network import build_assessor

from .conftest import RECIPES, load_script, run_script

pytest.importorskip("onnx", exc_type=ImportError)
pytest.importorskip("speechmos", exc_type=ImportError)

LABELS = ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]
COPY = {
    "dim": 8, "channels": [4, 6, 8], "time_strides": [2, 2, 1], "frequency_strides": [4, 2, 4],
    "layers": 1, "heads": 2, "feedforward": 16, "window_frames": 68,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path, tiny_config: ModelConfig) -> Path:
    """A small model with a copy of Distill-MOS's trunk."""
    groups = dict(tiny_config.groups)
    name, group = next((n, g) for n, g in groups.items() if "pesq" in g.metrics)
    groups[name] = replace(group, metrics=[*group.metrics, *LABELS])
    encoders = [tiny_config.encoders[0], EncoderConfig("spectral_transformer", COPY)]
    config = replace(tiny_config, encoders=encoders, groups=groups)
    torch.manual_seed(0)
    save_model(tmp_path / "model", build_assessor(config), config, {"name": "tiny"}, half=True)
    return tmp_path / "model"


@pytest.fixture
def manifest(tmp_path: Path, speech: Callable[..., np.ndarray]) -> Path:
    """Forty recordings, half of them with labels, and one of the other side."""
    lines = []
    for number in range(41):
        soundfile.write(tmp_path / f"{number}.wav", speech(0.6, number), 16000)
        lines.append({
            "audio_path": f"{number}.wav", "uid": f"a:{number}", "system_id": "a",
            "reference_id": str(number), "duration": 0.6, "metrics": {"mos_overall": 3.0},
            "meta": {"split": "validation" if number == 40 else "train"},
        })  # fmt: skip
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [f"a:{n},{2 + n / 20},{2.5 + n / 20},{3 + n / 20}" for n in range(20)]
    (tmp_path / "labels.csv").write_text("\n".join([f"uid,{','.join(LABELS)}", *rows]) + "\n")
    return path


def test_only_dnsmos_changes(
    tmp_path: Path, model: Path, manifest: Path, speech: Callable[..., np.ndarray]
) -> None:
    arguments = (
        "default/fit_peak_head.py", model, manifest, manifest, "--labels", tmp_path / "labels.csv",
        "--cache", tmp_path / "cache", "--output", tmp_path / "fitted", "--encoder", "1",
        "--epochs", "1",
    )  # fmt: skip
    done = run_script(*arguments)
    assert done.returncode == 0, done.stderr
    assert "40 recordings, 20 with labels" in done.stdout
    assert len(list((tmp_path / "cache").iterdir())) == 40
    before, after = (load_model(folder) for folder in (model, tmp_path / "fitted"))
    states = [load_file(folder / "model.safetensors") for folder in (model, tmp_path / "fitted")]
    assert all(states[1][name].equal(weight) for name, weight in states[0].items())
    added = states[1].keys() - states[0].keys()
    assert {name.split(".")[2] for name in added} == {"peak_head"}
    scores = [each.score(speech(1.0, 99), 16000) for each in (before, after)]
    for metric in before.metrics:
        same = torch.equal(scores[0][metric], scores[1][metric])
        assert same == (metric not in LABELS), metric
    own = head_of(after)(frequency_map_of(after, speech(1.0, 99)))
    for metric in LABELS:
        expected = (scores[0][metric] + own[metric].detach()) / 2
        torch.testing.assert_close(scores[1][metric], expected, atol=1e-4, rtol=0)


def head_of(assessor: Assessor) -> PeakHead:
    head = assessor.network.encoders[1].peak_head
    assert isinstance(head, PeakHead)
    return head


def frequency_map_of(assessor: Assessor, waveform: np.ndarray) -> FrequencyMap:
    """What the head hears of a recording."""
    heard = assessor.network.prepare(
        torch.from_numpy(waveform)[None], torch.tensor([len(waveform)])
    )
    return [*assessor.network.encoders[1].maps(*heard)][1]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which imports from beside it."""
    monkeypatch.syspath_prepend(RECIPES / "default")
    return load_script("default/fit_peak_head.py")


def test_what_training_adds_to_the_convolutions_is_folded_into_them(script: ModuleType) -> None:
    torch.manual_seed(0)
    head = PeakHead(3, PeakHeadConfig(LABELS, channels=[6, 5], dim=4))
    script.normalise(head, torch.tensor([2.0, 0.5, 30.0]))
    for convolution in head.convolutions:
        norm = convolution.conv[-1]
        assert isinstance(norm, nn.BatchNorm2d)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    head.eval()
    heard = FrequencyMap(torch.randn(2, 3, 20, 10), torch.tensor([20, 20]), 20)
    with torch.no_grad():
        expected, _ = head.peaks(heard)
        script.fold(head)
        folded, _ = head.peaks(heard)
    assert all(isinstance(each.conv, nn.Conv2d) for each in head.convolutions)
    torch.testing.assert_close(folded, expected, atol=1e-4, rtol=1e-4)


def test_missing_labels_are_what_dnsmos_says_moved_to_where_labels_are(
    script: ModuleType,
) -> None:
    judged = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    labels = torch.tensor([[1.5], [2.0], [2.5], [torch.nan]])
    filled = script.complete(labels, judged)
    torch.testing.assert_close(filled, torch.tensor([[1.5], [2.0], [2.5], [3.0]]))
    assert script.complete(torch.full((4, 1), torch.nan), judged).equal(judged)


def test_another_kind_of_encoder_is_refused(tmp_path: Path, model: Path, manifest: Path) -> None:
    done = run_script(
        "default/fit_peak_head.py", model, manifest, "--labels", tmp_path / "labels.csv",
        "--cache", tmp_path / "cache", "--output", tmp_path / "fitted", "--encoder", "0",
    )  # fmt: skip
    assert done.returncode == 2
    assert "encoder 0 is no spectral_transformer" in done.stderr
