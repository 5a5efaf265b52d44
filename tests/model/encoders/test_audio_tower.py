"""Loading a tower, and only the tower, from checkpoints larger than it."""

import functools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder

from . import tiny

transformers = pytest.importorskip("transformers")

KINDS = {
    "qwen2_audio": ("Qwen2AudioEncoder", ("audio_config",), "audio_tower."),
    "audio_flamingo3": ("AudioFlamingo3Encoder", ("audio_config",), "audio_tower."),
    "qwen3_omni": (
        "Qwen3OmniMoeAudioEncoder",
        ("thinker_config", "audio_config"),
        "thinker.audio_tower.",
    ),
}


def make_tower(family: str) -> nn.Module:
    torch.manual_seed(0)
    if family == "qwen3_omni":
        from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as modeling

        config = modeling.Qwen3OmniMoeAudioEncoderConfig(
            **tiny.WHISPER, downsample_hidden_size=8, output_dim=20
        )
        return modeling.Qwen3OmniMoeAudioEncoder(config)
    cls = getattr(transformers, KINDS[family][0])
    return cls(cls.config_class(**tiny.WHISPER))


@pytest.fixture(params=KINDS)
def sharded(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, nn.Module, Path]:
    """A large model's folder: tower and language model over three shards, and an index."""
    family = request.param
    _, nested, prefix = KINDS[family]
    tower = make_tower(family)
    names = {f"{prefix}{name}": tensor for name, tensor in tower.state_dict().items()}
    language = {f"language_model.layers.{n}.weight": torch.randn(8, 8) for n in range(4)}
    order = list(names)
    third = len(order) // 2
    shards = {
        "model-00001-of-00003.safetensors": {name: names[name] for name in order[:third]},
        "model-00002-of-00003.safetensors": {name: names[name] for name in order[third:]}
        | language,
        "model-00003-of-00003.safetensors": {"lm_head.weight": torch.randn(8, 8)},
    }
    write_shards(tmp_path, shards)
    # Only shards with the tower's weights are opened: this one cannot be.
    (tmp_path / "model-00003-of-00003.safetensors").write_bytes(b"not a safetensors file")
    config: dict = tower.config.to_dict()
    for key in reversed(nested):
        config = {key: config}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "large", **config}))
    return family, tower, tmp_path


def write_shards(folder: Path, shards: dict[str, dict[str, Tensor]]) -> None:
    index = {name: file for file, tensors in shards.items() for name in tensors}
    for file, tensors in shards.items():
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def build(sharded: tuple[str, nn.Module, Path]) -> Encoder:
    return build_encoder(EncoderConfig(sharded[0], {"checkpoint": str(sharded[2])}))


def test_tower_is_read_from_its_shards(sharded):
    encoder = build(sharded)
    stored = sharded[1].state_dict()
    for name, tensor in encoder.tower.state_dict().items():
        torch.testing.assert_close(tensor, stored[name], atol=0, rtol=0)


def rewrite(folder: Path, change: str) -> None:
    shard = folder / "model-00001-of-00003.safetensors"
    tensors = load_file(shard)
    name = next(name for name in tensors if name.endswith("weight"))
    other = folder / "model-00002-of-00003.safetensors"
    others = load_file(other)
    weight = tensors.pop(name)
    if change == "unknown":
        tensors |= {name: weight, name.replace("weight", "surplus"): weight.clone()}
    elif change == "twice":
        tensors[name], others[name] = weight, weight + 1
    elif change != "missing":
        tensors[name] = {
            "shape": lambda: weight[:-1],
            "int8": lambda: (100 * weight).to(torch.int8),
            "float8": lambda: weight.to(torch.float8_e4m3fn),
            "nan": lambda: weight * torch.nan,
        }[change]()
    write_shards(folder, {shard.name: tensors, other.name: others})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "lacks 1 of .* would stay random"),
        ("unknown", "has no place in"),
        ("shape", "the model asks for"),
        ("twice", "holds .* twice"),
        ("int8", "is of type torch.int8, expected .*: quantised weights are not read"),
        ("float8", "is of type torch.float8_e4m3fn, expected"),
        ("nan", "has values that are not finite"),
    ],
)
def test_tower_that_does_not_fit_is_refused(change, message, sharded):
    rewrite(sharded[2], change)
    with pytest.raises(ConfigError, match=message):
        build(sharded)


def test_weights_that_may_not_be_read_are_not_said_to_be_missing(sharded, monkeypatch):
    # Root, as whom these tests may run, may read everything.
    opened = Path.open

    def refuse(path, *args, **kwargs):
        if path.suffix == ".safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match=r"Permission denied: '.*\.safetensors'"):
        build(sharded)


def test_checkpoint_without_the_tower_is_refused(sharded):
    folder = sharded[2]
    write_shards(folder, {"model-00001-of-00003.safetensors": {"lm_head.weight": torch.ones(2)}})
    with pytest.raises(ConfigError, match="has no place in"):
        build(sharded)


@pytest.mark.parametrize(
    "index",
    [
        '["a"]', '{"weight_map": null}', '{"weight_map": ["a"]}', '{"weight_map": {"NAME": 3}}',
        '{"weight_map": {"NAME": "."}}', '{"weight_map": {"NAME": "config.json"}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_index_that_names_no_files_is_refused(index, sharded):
    name = f"{KINDS[sharded[0]][2]}conv1.weight"
    path = sharded[2] / "model.safetensors.index.json"
    path.write_text(index.replace("NAME", name))
    with pytest.raises(ConfigError, match=r"index\.json( is damaged|: expected keys and values)"):
        build(sharded)


@pytest.mark.parametrize("above", ["absolute", "relative"])
def test_index_that_leads_out_of_the_checkpoint_is_refused(above, sharded, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = sharded[2] / "model.safetensors.index.json"
    index = json.loads(path.read_text())["weight_map"]
    outside = str(elsewhere) if above == "absolute" else f"../{elsewhere.name}"
    for file in set(index.values()):
        (sharded[2] / file).rename(elsewhere / file)
    moved = {name: f"{outside}/{file}" for name, file in index.items()}
    path.write_text(json.dumps({"weight_map": moved}))
    with pytest.raises(ConfigError, match="expected weight_map to name files of this checkpoint"):
        build(sharded)


def test_files_that_are_links_are_read(sharded, tmp_path_factory):
    # So the cache of the Hub has them.
    blobs = tmp_path_factory.mktemp("blobs")
    for path in list(sharded[2].iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(blobs / path.name)
    stored = sharded[1].state_dict()
    for name, tensor in build(sharded).tower.state_dict().items():
        assert torch.equal(tensor, stored[name])


def test_missing_shard_is_named(sharded):
    (sharded[2] / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ConfigError, match="has no model-00002-of-00003"):
        build(sharded)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors.index.json", "model-00001-of-00003.safetensors"]
)
def test_damaged_file_is_named(name, sharded):
    path = sharded[2] / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ConfigError, match=f"{name} is damaged"):
        build(sharded)


@pytest.mark.parametrize("value", ["many", None, [16], -4])
def test_configuration_that_describes_no_tower_is_refused(value, sharded):
    path = sharded[2] / "config.json"
    described = json.loads(path.read_text())
    nested = described
    for key in KINDS[sharded[0]][1]:
        nested = nested[key]
    nested["d_model"] = value
    path.write_text(json.dumps(described))
    with pytest.raises(ConfigError, match="of this configuration: "):
        build(sharded)


def test_configuration_that_is_a_list_is_refused(sharded):
    described: object = [1]
    for key in reversed(KINDS[sharded[0]][1]):
        described = {key: described}
    (sharded[2] / "config.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match=r"expected the configuration of .* got list"):
        build(sharded)


def test_half_precision_is_read_as_single(sharded):
    folder = sharded[2]
    for shard in ("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"):
        halved = {name: t.to(torch.bfloat16) for name, t in load_file(folder / shard).items()}
        save_file(halved, folder / shard)
    assert {p.dtype for p in build(sharded).tower.parameters()} == {torch.float32}


def test_pickled_checkpoint_of_a_fine_tuned_model_is_read_without_unpickling(tmp_path):
    model = transformers.WavLMForCTC(transformers.WavLMConfig(**tiny.WAVEFORM, vocab_size=7))
    state = {
        # Names as torch had them before parametrizations, as in the published files.
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in model.state_dict().items()
    }
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_dict()))
    options = {"checkpoint": str(tmp_path), "normalise": False}
    encoder = build_encoder(EncoderConfig("wavlm", options))
    stored = model.wavlm.state_dict()
    for name, tensor in encoder.tower.state_dict().items():
        torch.testing.assert_close(tensor, stored[name], atol=0, rtol=0)


@pytest.mark.parametrize("state", [[torch.ones(2)], {1: torch.ones(2)}])
def test_pickled_checkpoint_without_names_is_refused(state, tmp_path):
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(tiny.WAVEFORM))
    options = {"checkpoint": str(tmp_path), "normalise": False}
    with pytest.raises(ConfigError, match="expected names and tensors"):
        build_encoder(EncoderConfig("wavlm", options))


def test_architecture_and_pretrained_weights_contradict_each_other():
    with pytest.raises(ConfigError, match="set pretrained: false"):
        build_encoder(EncoderConfig("wavlm", {"architecture": tiny.WAVEFORM}))


def test_labels_are_no_part_of_an_architecture():
    labels = {"id2label": {"0": "a"}, "label2id": {"a": 0}, "num_labels": 1_000_000}
    options = {"architecture": {**tiny.WAVEFORM, **labels}, "normalise": False, "pretrained": False}
    encoder = build_encoder(EncoderConfig("hubert", options))
    assert len(encoder.tower.config.id2label) == 2  # as where none are stated
    assert not labels.keys() & encoder.stored_options["architecture"].keys()


def test_labels_of_a_checkpoint_are_not_noted(tmp_path):
    config = transformers.HubertConfig(**tiny.WAVEFORM, num_labels=5)
    transformers.HubertModel(config).save_pretrained(tmp_path)
    assert "id2label" in (tmp_path / "config.json").read_text()
    options = {"checkpoint": str(tmp_path), "normalise": False}
    noted = build_encoder(EncoderConfig("hubert", options)).stored_options["architecture"]
    assert not {"id2label", "label2id", "num_labels"} & noted.keys()
    assert noted["hidden_size"] == 16


def test_no_checkpoint_and_no_architecture_is_refused():
    with pytest.raises(ConfigError, match="expected a folder or an owner/name"):
        build_encoder(EncoderConfig("wavlm"))


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_checkpoint_that_was_fetched_before_is_read_without_a_network(file, monkeypatch, tmp_path):
    import huggingface_hub

    model = transformers.WavLMModel(transformers.WavLMConfig(**tiny.WAVEFORM))
    cache, commit = tmp_path / "models--own--wavlm", "a" * 40
    snapshot = cache / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    model.save_pretrained(snapshot)
    if file == "pytorch_model.bin":
        (snapshot / "model.safetensors").unlink()
        torch.save(model.state_dict(), snapshot / file)
    fetch = functools.partial(
        huggingface_hub.hf_hub_download, cache_dir=tmp_path, local_files_only=True
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    config = EncoderConfig("wavlm", {"checkpoint": "own/wavlm", "normalise": False})
    stored = model.state_dict()
    for name, tensor in build_encoder(config).tower.state_dict().items():
        assert torch.equal(tensor, stored[name])
    (snapshot / file).unlink()
    with pytest.raises(ConfigError, match=r"neither model.safetensors nor .* could not be fetched"):
        build_encoder(config)


@pytest.mark.parametrize("name", ["no/where", "~nobody-of-that-name/where", "w" * 5000])
def test_unreachable_hub_is_told_in_words(name, monkeypatch):
    import huggingface_hub

    def fail(*args: object, **kwargs: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ConfigError, match=rf"no folder '{name}' here.*no connection"):
        build_encoder(EncoderConfig("wavlm", {"checkpoint": name}))
