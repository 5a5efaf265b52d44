"""Training one group of metrics again: all else of the model stays as it is."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from urgentmos.model.assessor import Assessor, AssessorNetwork
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import ModelConfig

from .conftest import load_script, run_script

GROUP = "noise_and_distortion"


@pytest.fixture
def model(tmp_path: Path, tiny_config: ModelConfig, tiny_network: AssessorNetwork) -> Path:
    """The tiny model in 16 bits, as models are published."""
    save_model(tmp_path / "model", tiny_network, tiny_config, {"name": "tiny"}, half=True)
    return tmp_path / "model"


@pytest.fixture
def manifest(tmp_path: Path, speech: Callable[..., np.ndarray]) -> Path:
    """Eight recordings, each with more noise than the one before and a lower SDR."""
    lines = []
    for number in range(8):
        noise = 0.02 * number * np.random.default_rng(number).standard_normal(8000)
        waveform = (speech(0.5, number) + noise).clip(-1, 1)
        soundfile.write(tmp_path / f"{number}.wav", waveform, 16000)
        lines.append({
            "audio_path": f"{number}.wav", "uid": f"a:{number}", "system_id": "a",
            "reference_id": str(number), "duration": 0.5,
            "metrics": {"sdr": 20.0 - 3 * number, "mos_overall": 3.0},
            "meta": {"split": "validation" if number > 4 else "train"},
        })  # fmt: skip
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("options", [(), ("--heads-only",)])
def test_nothing_but_the_group_and_its_heads_changes(
    tmp_path: Path, model: Path, manifest: Path, options: tuple[str, ...]
) -> None:
    done = run_script(
        "default/refit_group.py", model, manifest, GROUP, "--output", tmp_path / "refit",
        "--steps", "5", "--lr", "1e-2", "--recordings", "4", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "{'train': 4, 'validation': 3}" in done.stdout
    before, after = (
        load_file(folder / "model.safetensors") for folder in (model, tmp_path / "refit")
    )
    changed = {name for name in before if not before[name].equal(after[name])}
    own = () if options else (f"groups.{GROUP}.",)
    heads = tuple(f"heads.{metric}." for metric in ("pesq", "sdr", "lsd"))
    assert "heads.sdr.linear.weight" in changed
    assert any(name.startswith("groups.") for name in changed) == (not options)
    assert {name for name in changed if not name.startswith((*own, *heads))} == set()


def test_a_share_of_the_change_is_kept(tmp_path: Path, model: Path, manifest: Path) -> None:
    weights = [load_file(model / "model.safetensors")]
    for share in ("1", "0.5"):
        done = run_script(
            "default/refit_group.py", model, manifest, GROUP, "--output", tmp_path / share,
            "--steps", "5", "--lr", "1e-2", "--share", share, "--weight", "sdr=2",
            "--often", "sdr=3",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        weights.append(load_file(tmp_path / share / "model.safetensors"))
    name = "heads.sdr.linear.weight"
    before, whole, half = (state[name].float() for state in weights)
    assert not whole.equal(before)
    np.testing.assert_allclose(half, (before + whole) / 2, rtol=2e-3, atol=2e-4)


def test_recordings_with_a_rare_label_are_drawn_more_often() -> None:
    labels = torch.tensor([[1.0, torch.nan], [1.0, 2.0], [torch.nan, 2.0]])
    script = load_script("default/refit_group.py")
    shares = script.draw_shares(labels, ["sdr", "pesq"], {"pesq": 3.0})
    np.testing.assert_allclose(shares, [1 / 7, 3 / 7, 3 / 7])


def test_a_narrower_group_learns_what_the_group_said_before(
    tmp_path: Path, model: Path, manifest: Path
) -> None:
    done = run_script(
        "default/refit_group.py", model, manifest, GROUP, "--output", tmp_path / "narrow",
        "--steps", "5", "--feedforward", "3", "--as-before",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "{'train': 5, 'validation': 3}" in done.stdout
    weights = load_file(tmp_path / "narrow" / "model.safetensors")
    assert weights[f"groups.{GROUP}.encoder.layers.0.linear1.weight"].shape[0] == 3
    assert load_model(tmp_path / "narrow").config.groups[GROUP].feedforward == 3


def test_inner_features_that_do_nothing_are_left_out(
    tiny_config: ModelConfig, tiny_network: AssessorNetwork
) -> None:
    script = load_script("default/refit_group.py")
    layer = tiny_network.groups[GROUP].encoder.layers[0]
    with torch.no_grad():
        layer.linear2.weight[:, 1::2] = 0
    assessor = Assessor(tiny_network, tiny_config)
    kept = len(layer.linear1.bias) // 2
    narrow = script.narrow(assessor, GROUP, kept)
    waveform = torch.randn(12_000, generator=torch.Generator().manual_seed(0)) * 0.1
    scores = [each.score(waveform, 16000) for each in (assessor, narrow)]
    for metric in assessor.metrics:
        torch.testing.assert_close(scores[1][metric], scores[0][metric], atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", [(), ("--as-before",)])
def test_without_a_label_on_a_side_nothing_is_encoded(
    tmp_path: Path, model: Path, manifest: Path, options: tuple[str, ...]
) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        if line["meta"]["split"] == "validation":
            line["metrics"] = {"mos_overall": 3.0}
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run_script(
        "default/refit_group.py", model, manifest, GROUP, "--output", tmp_path / "refit", *options
    )
    assert done.returncode == 2
    assert "no recording of the validation side has a label of" in done.stderr
    assert "features" not in done.stderr
