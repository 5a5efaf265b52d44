"""Giving a model a head that judges by peaks or by frames: all else of the model stays as it is."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import nn

from urgentmos.labels.lsd import Lsd
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders.frame_head import FrameHead, FrameHeadConfig
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.peak_head import PeakHead, PeakHeadConfig
from urgentmos.model.heads import RangeConstraint
from urgentmos.model.network import build_assessor

from .conftest import RECIPES, load_script, modules_of_recipe, run_script

LABELS = ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]
DISTANT = ["pesq", "lsd", "sdr", "estoi", "mcd"]
COPY = {
    "dim": 8, "channels": [4, 6, 8], "time_strides": [2, 2, 1], "frequency_strides": [4, 2, 4],
    "layers": 1, "heads": 2, "feedforward": 16, "window_frames": 68,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path, tiny_config: ModelConfig) -> Path:
    """A small model with a copy of Distill-MOS's trunk."""
    groups = dict(tiny_config.groups)
    missing = [name for name in (*LABELS, *DISTANT) if name not in tiny_config.metrics]
    name, group = next((n, g) for n, g in groups.items() if "pesq" in g.metrics)
    groups[name] = replace(group, metrics=[*group.metrics, *missing])
    encoders = [tiny_config.encoders[0], EncoderConfig("spectral_transformer", COPY)]
    config = replace(tiny_config, encoders=encoders, groups=groups)
    torch.manual_seed(0)
    save_model(tmp_path / "model", build_assessor(config), config, {"name": "tiny"}, half=True)
    return tmp_path / "model"


@pytest.fixture
def manifest(tmp_path: Path, speech: Callable[..., np.ndarray]) -> Path:
    """Forty recordings, half of them with labels, and one of the other side.

    Three in four have a reference.
    """
    lines = []
    for number in range(41):
        clean = speech(0.6, number)
        noise = np.random.default_rng(number).standard_normal(len(clean)).astype(np.float32)
        soundfile.write(tmp_path / f"clean{number}.wav", clean, 16000)
        soundfile.write(tmp_path / f"{number}.wav", clean + 0.001 * number * noise, 16000)
        reference = {"reference_path": f"clean{number}.wav"} if number % 4 else {}
        lines.append({
            "audio_path": f"{number}.wav", "uid": f"a:{number}", "system_id": "a",
            "reference_id": str(number), "duration": 0.6, "metrics": {"mos_overall": 3.0},
            "meta": {"split": "validation" if number == 40 else "train", **reference},
        })  # fmt: skip
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [
        f"a:{n},{2 + n / 20},{2.5 + n / 20},{3 + n / 20},{4 - n / 10},{n / 10},{20 - n},,"
        for n in range(20)
    ]
    columns = ",".join(["uid", *LABELS, *DISTANT])
    (tmp_path / "labels.csv").write_text("\n".join([columns, *rows]) + "\n")
    return path


@pytest.fixture
def dnsmos() -> None:
    """What fit_peak_head.py needs."""
    pytest.importorskip("onnx", exc_type=ImportError)
    pytest.importorskip("speechmos", exc_type=ImportError)


@pytest.mark.usefixtures("dnsmos")
def test_of_a_head_by_peaks_only_dnsmos_changes(
    tmp_path: Path, model: Path, manifest: Path, speech: Callable[..., np.ndarray]
) -> None:
    said = fit(tmp_path, "default/fit_peak_head.py", model, manifest)
    assert "40 recordings, 20 with labels" in said
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 40
    check_what_changed(
        model, tmp_path / "fitted", "peak_head", dict.fromkeys(LABELS, 0.5), speech(1.0, 99)
    )


def test_of_a_head_by_frames_only_what_compares_changes(
    tmp_path: Path, model: Path, manifest: Path, speech: Callable[..., np.ndarray], frames
) -> None:
    """What no recording has a label of is none of its metrics."""
    said = fit(tmp_path, "default/fit_frame_head.py", model, manifest)
    assert "30 recordings with a reference, 15 with labels: pesq, lsd, sdr\n" in said
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 30
    shares = {name: frames.SHARES[name] for name in ("pesq", "lsd", "sdr")}
    check_what_changed(model, tmp_path / "fitted", "frame_head", shares, speech(1.0, 99))


@pytest.mark.usefixtures("dnsmos")
@pytest.mark.parametrize("option", ["peak_head", "frame_head"])
def test_a_head_that_is_there_learns_further(
    tmp_path: Path, model: Path, manifest: Path, option: str
) -> None:
    script = f"default/fit_{option}.py"
    refused = run_script(
        script, model, manifest, "--labels", tmp_path / "labels.csv", "--cache",
        tmp_path / "cache0", "--output", tmp_path / "none", "--encoder", "1", "--further",
    )  # fmt: skip
    assert refused.returncode == 1
    assert f"--further: encoder 1 has no {option} of" in refused.stderr
    assert not (tmp_path / "none").exists()

    fit(tmp_path, script, model, manifest)
    fitted = (tmp_path / "fitted").rename(tmp_path / "once")
    (tmp_path / "cache").rename(tmp_path / "cache1")
    fit(tmp_path, script, fitted, manifest, "--further", "--epochs", "4", "--lr", "1e-3")
    states = [load_file(tmp_path / name / "model.safetensors") for name in ("once", "fitted")]
    assert states[0].keys() == states[1].keys()
    moved = {name for name, weight in states[0].items() if not states[1][name].equal(weight)}
    assert moved
    assert all(name.startswith(f"encoders.1.{option}.") for name in moved)
    # It goes on from what it was, and does not begin anew.
    for name in moved:
        torch.testing.assert_close(states[1][name], states[0][name], atol=6e-3, rtol=1e-2)
    configs = [load_model(tmp_path / name).config for name in ("once", "fitted")]
    assert configs[0] == configs[1]


def fit(tmp_path: Path, script: str, model: Path, manifest: Path, *options: str) -> str:
    """Run one of the scripts, with the manifest twice; give what it says."""
    done = run_script(
        script, model, manifest, manifest, "--labels", tmp_path / "labels.csv",
        "--cache", tmp_path / "cache", "--output", tmp_path / "fitted", "--encoder", "1",
        "--epochs", "1", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_what_changed(
    model: Path, fitted: Path, option: str, shares: dict[str, float], waveform: np.ndarray
) -> None:
    """The weights of a head are new, and what it predicts is a mean with it; nothing else."""
    before, after = (load_model(folder) for folder in (model, fitted))
    states = [load_file(folder / "model.safetensors") for folder in (model, fitted)]
    assert all(states[1][name].equal(weight) for name, weight in states[0].items())
    added = states[1].keys() - states[0].keys()
    assert {name.split(".")[2] for name in added} == {option}
    scores = [each.score(waveform, 16000) for each in (before, after)]
    head = getattr(after.network.encoders[1], option)
    with torch.no_grad():
        own = head(frequency_map_of(after, waveform))
    for metric in before.metrics:
        share = shares.get(metric, 0.0)
        expected = scores[0][metric]
        if share:
            expected = (1 - share) * expected + share * own[metric]
        torch.testing.assert_close(scores[1][metric], expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(scores[0][metric], scores[1][metric]) == (share == 0), metric


def frequency_map_of(assessor: Assessor, waveform: np.ndarray) -> FrequencyMap:
    """What the head hears of a recording."""
    heard = assessor.network.prepare(
        torch.from_numpy(waveform)[None], torch.tensor([len(waveform)])
    )
    return [*assessor.network.encoders[1].maps(*heard)][1]


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts import from beside them."""
    monkeypatch.syspath_prepend(RECIPES / "default")


@pytest.fixture
def peaks(beside: None, dnsmos: None) -> ModuleType:
    return load_script("default/fit_peak_head.py")


@pytest.fixture
def frames(beside: None) -> ModuleType:
    return load_script("default/fit_frame_head.py")


@pytest.fixture
def own_heads() -> Iterator[dict[str, ModuleType]]:
    names = ("own_heads.heard", "own_heads.normalisation")
    with modules_of_recipe("default", *names) as modules:
        yield {name.partition(".")[2]: module for name, module in modules.items()}


@pytest.fixture
def normalisation(own_heads: dict[str, ModuleType]) -> ModuleType:
    return own_heads["normalisation"]


@pytest.fixture
def distances(beside: None) -> ModuleType:
    return load_script("default/reference_distances.py")


@pytest.mark.parametrize("option", ["peak_head", "frame_head"])
def test_what_training_adds_is_folded_into_the_weights(
    normalisation: ModuleType, option: str
) -> None:
    torch.manual_seed(0)
    if option == "peak_head":
        metrics, size = LABELS, {"channels": [6, 5], "dim": 4}
        head = PeakHead(3, PeakHeadConfig(metrics, **size))
    else:
        metrics, size = DISTANT, {"channels": [6, 5], "frame_dim": 8, "dim": 4}
        head = FrameHead(3, 10, FrameHeadConfig(metrics, **size))
    labels = torch.rand(9, len(metrics)) + 1.5
    labels[2, 1] = torch.nan
    normalisation.normalise(head, torch.tensor([2.0, 0.5, 30.0]), labels)
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
        expected = head(heard)
        normalisation.fold(head)
        folded = head(heard)
    assert all(isinstance(each.conv, nn.Conv2d) for each in head.convolutions)
    assert all(isinstance(each.constraint, RangeConstraint) for each in head.heads.values())
    for metric in metrics:
        torch.testing.assert_close(folded[metric], expected[metric], atol=1e-4, rtol=1e-4)


def test_a_head_begins_where_labels_are(normalisation: ModuleType) -> None:
    """Also those of metrics that have only one bound, or none."""
    head = FrameHead(3, 10, FrameHeadConfig(DISTANT, channels=[6, 5], frame_dim=8, dim=4))
    mean = torch.tensor([2.0, 3.0, -8.0, 0.7, 6.0])
    labels = mean + torch.tensor([[0.1], [-0.1], [torch.nan]])
    normalisation.normalise(head, torch.ones(3), labels)
    for metric, expected in zip(DISTANT, mean.tolist(), strict=True):
        given = head.heads[metric](torch.zeros(1, 4)).item()
        assert given == pytest.approx(expected, abs=0.06), metric


def test_missing_labels_are_what_dnsmos_says_moved_to_where_labels_are(
    peaks: ModuleType,
) -> None:
    judged = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    labels = torch.tensor([[1.5], [2.0], [2.5], [torch.nan]])
    filled = peaks.complete(labels, judged)
    torch.testing.assert_close(filled, torch.tensor([[1.5], [2.0], [2.5], [3.0]]))
    assert peaks.complete(torch.full((4, 1), torch.nan), judged).equal(judged)


@pytest.mark.parametrize("script", ["fit_peak_head.py", "fit_frame_head.py"])
def test_another_kind_of_encoder_is_refused(
    tmp_path: Path, model: Path, manifest: Path, script: str, dnsmos: None
) -> None:
    done = run_script(
        f"default/{script}", model, manifest, "--labels", tmp_path / "labels.csv",
        "--cache", tmp_path / "cache", "--output", tmp_path / "fitted", "--encoder", "0",
    )  # fmt: skip
    assert done.returncode == 2
    assert "encoder 0 is no spectral_transformer" in done.stderr


def test_what_another_model_heard_is_not_learned_from(
    tmp_path: Path, own_heads: dict[str, ModuleType]
) -> None:
    stored_files = own_heads["heard"].stored_files
    stored_files([], tmp_path, of="a frame head of model 1")
    stored_files([], tmp_path, of="a frame head of model 1")
    with pytest.raises(SystemExit, match="has what a frame head of model 1 heard, not what"):
        stored_files([], tmp_path, of="a peak head of model 1")


def test_distances_of_frames_are_those_of_the_whole(
    distances: ModuleType, speech: Callable[..., np.ndarray]
) -> None:
    """The mean of a recording's log-spectral distances is its LSD."""
    clean = speech(3.0, 1)
    noise = np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)
    recording = 0.5 * (clean + 0.02 * noise)
    found = distances.reference_distances(torch.from_numpy(recording), torch.from_numpy(clean))
    assert found.shape == (37, distances.NUMBERS)
    expected = Lsd().label(recording, clean)["lsd"]
    assert found[:, 2 * distances.BANDS].mean().item() == pytest.approx(expected, rel=0.03)
    # White noise adds most where speech has least: every band is louder, the highest most.
    difference = found[:, : distances.BANDS].mean(dim=0)
    assert difference.min() > -0.1
    assert difference[-1] > difference[3]


def test_a_recording_is_at_no_distance_from_itself(
    distances: ModuleType, speech: Callable[..., np.ndarray]
) -> None:
    clean = torch.from_numpy(speech(1.0, 1))
    silence = torch.zeros(1280)
    found = distances.reference_distances(torch.cat((silence, clean)), torch.cat((silence, clean)))
    assert len(found) == len(clean) // 1280  # without the silence, which nobody hears
    size = 2 * distances.BANDS + 2
    torch.testing.assert_close(found[:, :size], torch.zeros(len(found), size), atol=1e-3, rtol=0)


def test_distances_of_silence_are_finite(distances: ModuleType) -> None:
    nothing, something = torch.zeros(8000), torch.randn(8000)
    for pair in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert distances.reference_distances(*pair).isfinite().all()


def test_a_head_by_frames_needs_labels(tmp_path: Path, model: Path, manifest: Path) -> None:
    done = run_script(
        "default/fit_frame_head.py", model, manifest, "--cache", tmp_path / "cache",
        "--output", tmp_path / "fitted", "--encoder", "1",
    )  # fmt: skip
    assert done.returncode == 2
    assert "no recording with a reference has a label of pesq, lsd, sdr, estoi, mcd" in done.stderr
