import json
from pathlib import Path

import pytest
import torch
from torch import nn

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder
from urgentmos.model.encoders.waveform_transformers import group_norm_each, normalise

from . import tiny

transformers = pytest.importorskip("transformers")

UNTRAINED = {"normalise": False, "pretrained": False}
MODEL_CLASSES = {
    "wavlm": "WavLMModel",
    "hubert": "HubertModel",
    "wav2vec2": "Wav2Vec2Model",
    "data2vec": "Data2VecAudioModel",
}


@pytest.fixture(params=tiny.WAVEFORM_TRANSFORMERS)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, nn.Module, Path]:
    """A family's name, the library's model with random weights, and that model on disk."""
    return save(request.param, tmp_path)


def save(name: str, folder: Path) -> tuple[str, nn.Module, Path]:
    family, architecture = tiny.WAVEFORM_TRANSFORMERS[name]
    cls = getattr(transformers, MODEL_CLASSES[family])
    torch.manual_seed(0)
    model = cls(cls.config_class(**architecture)).eval()
    tiny.shake(model)
    model.save_pretrained(folder)
    large = architecture.get("feat_extract_norm") == "layer"
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": large}))
    return family, model, folder


def build(checkpoint: tuple[str, nn.Module, Path], **options: object) -> Encoder:
    family, _, folder = checkpoint
    return build_encoder(EncoderConfig(family, {"checkpoint": str(folder), **options})).eval()


def test_hidden_states_are_those_of_the_library(checkpoint, recordings):
    _, model, _ = checkpoint
    encoder = build(checkpoint)
    waveform, lengths = recordings([8000])
    inputs = normalise(waveform, lengths) if encoder.normalise else waveform
    with torch.no_grad():
        result = model(inputs, output_hidden_states=True)
        expected = torch.stack([*result.hidden_states[:-1], result.last_hidden_state], dim=1)
        output = encoder(waveform, lengths)
    assert output.hidden_states.shape == (1, 3, 24, 16)
    torch.testing.assert_close(output.hidden_states, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("trainable", "trained"), [(0, 0), (1, 1), ("all", 2)])
def test_last_layers_are_trained_and_the_rest_has_no_dropout(trainable, trained, tmp_path):
    encoder = build(save("wavlm base", tmp_path), trainable_layers=trainable).train()
    layers = list(encoder.tower.encoder.layers)
    expected = [False] * (2 - trained) + [True] * trained
    assert [all(p.requires_grad for p in layer.parameters()) for layer in layers] == expected
    assert [layer.dropout.training for layer in layers] == expected
    assert encoder.tower.encoder.dropout.training == (trainable == "all")


@pytest.mark.parametrize("name", ["hubert base", "xls-r", "data2vec"])
def test_eager_attention_is_sdpa(name, tmp_path, recordings):
    checkpoint = save(name, tmp_path)
    batch = recordings([6000, 4000])
    with torch.no_grad():
        eager, fused = (
            build(checkpoint, attention=kind)(*batch).hidden_states[:, :, :12]
            for kind in ("eager", "sdpa")
        )
    torch.testing.assert_close(eager, fused, atol=1e-5, rtol=1e-5)


def test_flash_attention_is_refused_where_the_model_has_none(tmp_path):
    with pytest.raises(ConfigError, match="rules flash_attention_2 out"):
        build(save("wavlm base", tmp_path), attention="flash_attention_2")


def test_shortest_recording_is_one_frame(checkpoint, recordings):
    encoder = build(checkpoint)
    assert encoder.min_samples == 400
    assert encoder.frame_rate == 50
    assert encoder(*recordings([400])).lengths.tolist() == [1]


def test_group_norm_of_each_recording_is_that_of_its_valid_frames():
    norm = nn.GroupNorm(4, 4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    hidden = torch.randn(2, 4, 9) * 3 + 5
    normed = group_norm_each(hidden, torch.tensor([9, 6]), norm)
    torch.testing.assert_close(normed[:1], norm(hidden[:1]))
    torch.testing.assert_close(normed[1:, :, :6], norm(hidden[1:, :, :6]))


def test_normalising_follows_the_checkpoint_unless_told(tmp_path):
    checkpoint = save("wavlm large", tmp_path)
    assert build(checkpoint).normalise is True
    assert build(checkpoint, normalise=False).normalise is False


def test_normalising_that_is_no_boolean_is_refused(tmp_path):
    checkpoint = save("wavlm base", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": "false"}')
    with pytest.raises(ConfigError, match="do_normalize to be true or false, got 'false'"):
        build(checkpoint)


def test_a_checkpoint_that_does_not_tell_is_answered_with_what_to_state(tmp_path):
    checkpoint = save("wavlm base", tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"has no preprocessor_config\.json; .* state normalise"):
        build(checkpoint)
    assert not build(checkpoint, normalise=False).normalise


def test_normalising_must_be_stated_where_no_checkpoint_does():
    options = {"architecture": tiny.WAVEFORM, "pretrained": False}
    with pytest.raises(ConfigError, match="normalise: expected true or false"):
        build_encoder(EncoderConfig("wavlm", options))


@pytest.mark.parametrize(
    ("strides", "message"),
    [
        ([20_000, *[2] * 6], "expected frames of at most 20 s, .* got 1560010 samples"),
        ([10**9] * 7, "expected frames of at most 20 s"),
        ([*[2] * 6, 0], "expected 1 and more, got 0"),
        ([*[2] * 6, -2], "expected 1 and more, got -2"),
    ],
)
def test_frames_of_no_length_or_too_much_are_refused(strides, message):
    options = {"architecture": {**tiny.WAVEFORM, "conv_stride": strides}, **UNTRAINED}
    with pytest.raises(ConfigError, match=rf"architecture\.conv_stride: {message}"):
        build_encoder(EncoderConfig("hubert", options))


@pytest.mark.parametrize(
    ("name", "value"),
    [("layer_norm_eps", -5.0), ("layer_norm_eps", 0.0), ("num_attention_heads", -2)],
)
def test_numbers_of_which_no_features_come_are_refused(name, value):
    options = {"architecture": {**tiny.WAVEFORM, name: value}, **UNTRAINED}
    with pytest.raises(ConfigError, match=f"{name}: expected more than 0, got {value}"):
        build_encoder(EncoderConfig("hubert", options))


def test_the_family_says_what_the_layers_are(recordings):
    architecture = {**tiny.WAVEFORM, "model_type": "wavlm"}
    options = {"architecture": architecture, **UNTRAINED}
    encoder = build_encoder(EncoderConfig("hubert", options)).eval()
    assert encoder(*recordings([4000])).hidden_states.shape[1] == encoder.num_layers
