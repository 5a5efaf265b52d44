import json
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from urgentmos.extras import MissingExtraError
from urgentmos.model import checkpoint
from urgentmos.model.assessor import AssessorNetwork
from urgentmos.model.checkpoint import (
    CheckpointError,
    content_hash,
    find_model,
    load_model,
    save_model,
)
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.device import DeviceError
from urgentmos.model.encoders import audio_tower
from urgentmos.model.network import build_assessor


def rewrite_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_saved_scores_the_same_when_loaded(
    tiny_model_dir: Path, tiny_network: AssessorNetwork
) -> None:
    waveform = torch.randn(1, 4000)
    with torch.inference_mode():
        before = tiny_network(waveform, torch.tensor([4000])).scores
    after = load_model(tiny_model_dir).score(waveform, 16000)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_half_precision_halves_the_file_and_loads_as_single(
    tiny_model_dir: Path, tiny_network: AssessorNetwork, tiny_config: ModelConfig, tmp_path: Path
) -> None:
    save_model(tmp_path / "half", tiny_network, tiny_config, {}, half=True)
    half = load_model(tmp_path / "half")
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}
    sizes = [(f / "model.safetensors").stat().st_size for f in (tmp_path / "half", tiny_model_dir)]
    assert sizes[0] < 0.7 * sizes[1]
    waveform = torch.randn(4000)
    full_score = load_model(tiny_model_dir).score(waveform, 16000)["mos"]
    assert float(half.score(waveform, 16000)["mos"]) == pytest.approx(float(full_score), abs=1e-2)


def test_a_weight_that_16_bits_cannot_hold_is_not_saved(
    tiny_network: AssessorNetwork, tiny_config: ModelConfig, tmp_path: Path
) -> None:
    tiny_network.fusion.norm.weight.data[0] = 1e6
    with pytest.raises(CheckpointError, match=r"fusion\.norm\.weight has values"):
        save_model(tmp_path / "half", tiny_network, tiny_config, {}, half=True)
    assert not (tmp_path / "half" / "model.safetensors").exists()


def test_the_hash_names_configuration_and_weights(
    tiny_model_dir: Path, tiny_network: AssessorNetwork, tiny_config: ModelConfig, tmp_path: Path
) -> None:
    digest = load_model(tiny_model_dir).model_hash
    assert len(digest) == 12
    save_model(tmp_path / "again", tiny_network, tiny_config, {"name": "another card"})
    assert content_hash(tmp_path / "again") == digest
    tiny_network.fusion.norm.weight.data[0] += 1e-3
    save_model(tmp_path / "changed", tiny_network, tiny_config, {})
    assert content_hash(tmp_path / "changed") != digest
    rewrite_config(tiny_model_dir, level="none")
    assert content_hash(tiny_model_dir) != digest


def test_the_card_comes_with_the_model(tiny_model_dir: Path) -> None:
    assert load_model(tiny_model_dir).card == {"name": "tiny"}


def edit_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    tensors = {**load_file(path), **{k.replace("__", "."): v for k, v in changes.items()}}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads__mos__linear__weight": None}, "no weights for the heads of mos"),
        ({"fusion__norm__bias": None}, r"lacks weights that config.json asks for: fusion\.norm"),
        ({"heads__utmos__linear__bias": torch.zeros(1)}, r"no place: heads\.utmos\.linear"),
        (
            {"fusion__norm__bias": torch.zeros(3)},
            r"does not fit config.json: .*norm\.bias has shape \(3,\), the model asks for \(16,\)",
        ),
        (
            {"fusion__norm__bias": torch.ones(16, dtype=torch.int8)},
            "norm.bias is of type torch.int8",
        ),
        ({"fusion__norm__bias": torch.full((16,), torch.nan)}, "norm.bias has values that are not"),
        (
            {"fusion__norm__weight": torch.full((16,), 1e300, dtype=torch.float64)},
            "norm.weight has values that are not finite in torch.float32",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    tiny_model_dir: Path, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    edit_weights(tiny_model_dir, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_model(tiny_model_dir)


def _set(folder: Path, dotted: str, value: object) -> None:
    path = folder / "config.json"
    stated: Any = json.loads(path.read_text())
    inner = stated
    *keys, last = [int(key) if key.isdigit() else key for key in dotted.split(".")]
    for key in keys:
        inner = inner[key]
    inner[last] = value
    path.write_text(json.dumps(stated))


def _wavlm(**architecture: object) -> dict[str, object]:
    tiny = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }
    options = {"architecture": tiny | architecture, "normalise": False, "pretrained": False}
    return {"family": "wavlm", "options": options}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fusion.dim", 10**6, r"fusion: .*tensor of shape \(1000000, 20\), larger than all"),
        ("fusion.dim", 10**5, r"groups.*: .*tensor of shape \(300000, 100000\)"),
        ("fusion.dim", 10**3, r"fusion\.\S+ has shape \(16,\), the model asks for \(1000,\)"),
        ("groups.naturalness.layers", 10**5, "groups.naturalness: .*asks for more layers than"),
        ("groups.naturalness.feedforward", 10**9, r"groups.naturalness: .*\(1000000000, 16\)"),
        ("encoders.0.options.dim", 10**6, r"encoders\.0\.options: .*tensor of shape"),
        ("encoders.0.options.blocks", 10**5, r"encoders\.0\.options: .*more layers than"),
        ("encoders.0.options.window_ms", 10**8, r"encoders\.0\.options: .*\(1600000000,\)"),
        ("encoders.0.options.window_ms", 10**5, r"encoders\.0\.options: .*\(800001, 16\)"),
        ("shortest_s", 1e9, "shortest_s: expected 0 to 20 seconds"),
        ("sample_rate", 10**9, "sample_rate: expected 16000"),
        ("encoders.1", _wavlm(hidden_size=10**6), r"encoders\.1\.options: .*tensor of shape"),
        ("encoders.1", _wavlm(num_hidden_layers=10**5), r"encoders\.1\.options: .*more layers"),
    ],
)
def test_a_configuration_of_more_than_the_weights_is_refused_before_it_costs(
    tiny_model_dir: Path, key: str, value: object, message: str
) -> None:
    if key == "encoders.1":
        pytest.importorskip("transformers").WavLMModel  # noqa: B018 - imported before the clock runs
    _set(tiny_model_dir, key, value)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    with pytest.raises(CheckpointError, match=message):
        load_model(tiny_model_dir)
    assert time.process_time() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200_000


@pytest.mark.parametrize("hop_ms", [-1.0, 1e-9, 1e30])
def test_frames_that_leave_samples_out_are_refused(tiny_model_dir: Path, hop_ms: float) -> None:
    _set(tiny_model_dir, "encoders.0.options.hop_ms", hop_ms)
    with pytest.raises(
        CheckpointError, match=r"encoders\.0\.options: hop_ms: expected more than 0"
    ):
        load_model(tiny_model_dir)


def test_a_key_that_is_there_twice_is_refused(tiny_model_dir: Path) -> None:
    path = tiny_model_dir / "config.json"
    path.write_text(path.read_text().rstrip()[:-1] + ', "level": "none"}')
    with pytest.raises(CheckpointError, match="key 'level' is there twice"):
        load_model(tiny_model_dir)


@pytest.fixture
def wavlm_model_dir(tiny_config: ModelConfig, tmp_path: Path) -> Path:
    """A model with a small WavLM, saved and then edited to ask for a checkpoint on the Hub."""
    pytest.importorskip("transformers")
    encoder = EncoderConfig(**cast(dict[str, Any], _wavlm(num_hidden_layers=1)))
    config = replace(tiny_config, encoders=[encoder])
    save_model(tmp_path / "wavlm", build_assessor(config), config, {})
    for key, value in (("pretrained", True), ("checkpoint", "evil/large")):
        _set(tmp_path / "wavlm", f"encoders.0.options.{key}", value)
    return tmp_path / "wavlm"


def test_no_checkpoint_is_read_for_weights_that_are_in_the_file(
    wavlm_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_tower, "require_hub", None)
    stored = load_file(wavlm_model_dir / "model.safetensors")
    loaded = load_model(wavlm_model_dir).network.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in stored.items())


def test_a_saved_model_that_leaves_its_encoder_to_a_checkpoint_is_refused(
    wavlm_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_tower, "require_hub", None)
    _set(wavlm_model_dir, "encoders.0.options.architecture", None)
    with pytest.raises(CheckpointError, match=r"encoders\.0\.options\.architecture is missing"):
        load_model(wavlm_model_dir)


def test_loaded_weights_lie_in_memory_as_the_modules_want_them(tiny_model_dir: Path) -> None:
    convolution = load_model(tiny_model_dir).network.encoders[0].stem.layers[1].conv
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert not convolution.weight.is_contiguous()


def test_an_unknown_key_in_the_configuration_is_refused(tiny_model_dir: Path) -> None:
    rewrite_config(tiny_model_dir, fusio=1)
    with pytest.raises(CheckpointError, match="unknown key 'fusio'; did you mean 'fusion'"):
        load_model(tiny_model_dir)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_one_of_the_files_is_no_model(tiny_model_dir: Path, name: str) -> None:
    (tiny_model_dir / name).unlink()
    with pytest.raises(CheckpointError, match=f"is not a model: it has no {name}"):
        load_model(tiny_model_dir)


def test_weights_in_another_format_are_refused(tiny_model_dir: Path) -> None:
    (tiny_model_dir / "model.safetensors").write_bytes(b"\x80\x04K*." * 40)
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load_model(tiny_model_dir)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(CheckpointError, match=r"no folder 'defualt' here; did you mean 'default'"):
        find_model("defualt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", r"the one that it lies in, '.*models'$"),
        ("config.json", r"the one that it lies in, '.*models'$"),
        ("model.pt", "urgentmos import-checkpoint makes one"),
        ("model.zip", r"one with model\.safetensors and config\.json \(an archive has to be unp"),
    ],
)
def test_a_file_is_answered_with_what_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).touch()
    # As this it could be an id of the Hub, too.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"'models/{name}' is a file, .*{message}"):
        find_model(f"models/{name}")
    with pytest.raises(CheckpointError, match=f"{name}' is a file"):
        load_model(tmp_path / "models" / name)


@pytest.mark.parametrize(
    "name",
    ["./mine", "~/mine", "../runs/mine", "mine.pt", "~nosuchuser/mine", "long" * 1250, "nul\0"],
)
def test_a_path_is_not_looked_for_on_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "require_hub", None)
    with pytest.raises(CheckpointError, match=f"no folder {re.escape(repr(name))} here: expec"):
        find_model(name)


def test_a_folder_of_models_is_answered_with_those_that_it_holds(
    tiny_network: AssessorNetwork, tiny_config: ModelConfig, tmp_path: Path
) -> None:
    for name in ("final", "best"):
        save_model(tmp_path / name, tiny_network, tiny_config, {})
    told = f"a folder of some: give one of them, {tmp_path}/best, {tmp_path}/final"
    with pytest.raises(CheckpointError, match=re.escape(told)):
        load_model(tmp_path)


def test_a_missing_folder_is_told_before_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"^no file or folder 'runs/mine' here; .*pip"):
        find_model("runs/mine")


def test_what_is_no_name_is_refused_in_words() -> None:
    # In a process of its own: here, every call has its types checked.
    code = "import urgentmos; urgentmos.load(None)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        "CheckpointError: expected a model's name, its folder or a Hub id, got None" in run.stderr
    )


def test_an_empty_name_is_no_name() -> None:
    with pytest.raises(CheckpointError, match="expected a model's name, its folder or a Hub id"):
        find_model("")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_folder_in_place_of_a_file_is_told(tiny_model_dir: Path, name: str) -> None:
    (tiny_model_dir / name).unlink()
    (tiny_model_dir / name).mkdir()
    with pytest.raises(CheckpointError, match=f"is not a model: it has no {name}"):
        load_model(tiny_model_dir)


def test_weights_that_may_not_be_read_are_not_said_to_be_missing(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root, as whom these tests may run, may read everything.
    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*/model\.safetensors'"):
        checkpoint._read_weights(tiny_model_dir / "model.safetensors")


def test_threads_that_load_at_once_leave_the_default_dtype(tiny_model_dir: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(load_model, [tiny_model_dir] * 12))
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_model_on_another_device_is_moved(tiny_model_dir: Path) -> None:
    assessor = load_model(tiny_model_dir, device="meta")
    assert assessor.device == torch.device("meta")


def test_a_device_that_is_not_there_is_told_in_words(tiny_model_dir: Path) -> None:
    for device, message in (
        ("abacus", "^no such device 'abacus': cpu, cuda, "),
        ("cuda:99", "^no device 'cuda:99': PyTorch sees [0-9]+ GPUs here$"),
        (torch.device("hpu"), "^no device 'hpu' here: "),
    ):
        with pytest.raises(DeviceError, match=message):
            load_model(tiny_model_dir, device=device)


def test_a_saved_model_needs_nothing_but_its_folder(tiny_model_dir: Path) -> None:
    assert {path.name for path in tiny_model_dir.iterdir()} == {
        "config.json",
        "model.safetensors",
        "model_card.json",
    }
    assert np.isfinite(float(load_model(str(tiny_model_dir)).score(np.ones(10), 16000)["mos"]))


def test_all_its_files_can_be_read_by_those_who_may_read_one(tiny_model_dir: Path) -> None:
    modes = {path.name: path.stat().st_mode for path in tiny_model_dir.iterdir()}
    assert len(set(modes.values())) == 1, modes
