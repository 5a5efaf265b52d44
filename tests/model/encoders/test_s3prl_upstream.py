import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from urgentmos.config import ConfigError
from urgentmos.model.checkpoint import CheckpointError, load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders import Encoder, build_encoder
from urgentmos.model.network import build_assessor

from . import tiny

pytest.importorskip("torchaudio", exc_type=ImportError)
pytest.importorskip("s3prl", exc_type=ImportError)

# s3prl and what it imports warn of their own age.
pytestmark = pytest.mark.filterwarnings("ignore")


def build(upstream: str, **options: object) -> Encoder:
    return build_encoder(EncoderConfig("s3prl", {"upstream": upstream, **options})).eval()


@pytest.fixture
def wavlm(tmp_path: Path) -> Path:
    return tiny.save_s3prl_wavlm(tmp_path / "wavlm.pt")


@pytest.fixture
def encoder(wavlm: Path) -> Encoder:
    return build("wavlm_local", checkpoint=str(wavlm))


def test_hidden_states_are_those_of_s3prl(encoder, recordings):
    waveform, lengths = recordings([8000])
    with torch.no_grad():
        states, counts = encoder.tower(waveform, lengths)
        output = encoder(waveform, lengths)
    assert output.lengths.tolist() == counts[-1].tolist() == [25]
    torch.testing.assert_close(output.hidden_states, torch.stack(states, dim=1))


@pytest.fixture
def hf_hubert(tmp_path: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    config = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        conv_dim=[8] * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.HubertModel(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    return tmp_path


def test_upstream_without_gradient_says_so(hf_hubert: Path):
    encoder = build("hf_hubert_custom", checkpoint=str(hf_hubert))
    assert not encoder.differentiable
    assert "no gradient reaches the waveform" in encoder.gradient_note


def test_states_of_another_width_or_rate_are_left_out(encoder, recordings):
    encoder.tower._hidden_sizes[0] = 99
    from urgentmos.model.encoders.s3prl_upstream import S3prlConfig, S3prlEncoder

    again = S3prlEncoder(encoder.tower, config=S3prlConfig(upstream="wavlm_local"))
    assert again.num_layers == encoder.num_layers - 1
    assert again(*recordings([4000])).hidden_states.shape[1] == again.num_layers


def test_unknown_upstream_is_refused():
    with pytest.raises(ConfigError, match="s3prl has no 'wavelm'"):
        build("wavelm")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "'wavlm_local' of its own checkpoint .*: TypeError"),
        ({"checkpoint": "missing.pt"}, "'wavlm_local' of 'missing.pt' .*: AssertionError"),
        ({"checkpoint": __file__}, "'wavlm_local' of '.*: Weights only load failed$"),
    ],
)
def test_a_checkpoint_that_is_none_is_told_with_its_upstream(options: dict[str, str], told: str):
    with pytest.raises(ConfigError, match=told):
        build("wavlm_local", **options)


def test_structure_without_checkpoint_is_refused():
    with pytest.raises(ConfigError, match="defined by its checkpoint"):
        build("fbank", pretrained=False)


def test_a_computed_upstream_takes_no_checkpoint():
    with pytest.raises(ConfigError, match="checkpoint: fbank is computed and has no weights"):
        build("fbank", checkpoint="trained.pt")


def save(folder: Path, config: ModelConfig, **options: object) -> Path:
    config = replace(config, encoders=[EncoderConfig("s3prl", dict(options))])
    save_model(folder, build_assessor(config), config, {})
    return folder


def state_options(model: Path, **changes: object) -> dict[str, Any]:
    """Edit what a saved model states of its encoder; give what it stated."""
    path = model / "config.json"
    stated = json.loads(path.read_text())
    before = dict(stated["encoders"][0]["options"])
    stated["encoders"][0]["options"].update(changes)
    path.write_text(json.dumps(stated))
    return before


def state_convolutions(model: Path, setting: str) -> None:
    """Put a string that s3prl evaluates into a saved model's structure."""
    structure = state_options(model)["structure"]
    structure["checkpoint"]["cfg"]["conv_feature_layers"] = setting
    state_options(model, structure=structure)


@pytest.fixture
def saved(wavlm: Path, tiny_config: ModelConfig, tmp_path: Path) -> Path:
    return save(tmp_path / "saved", tiny_config, upstream="wavlm_local", checkpoint=str(wavlm))


@pytest.fixture
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was fetched")

    for place in ("socket.socket.connect", "urllib.request.urlopen", "torch.hub.load"):
        monkeypatch.setattr(place, refuse)


@pytest.mark.usefixtures("nothing_is_fetched")
def test_a_saved_model_needs_no_checkpoint(saved, wavlm, tiny_config):
    waveform = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    config = replace(
        tiny_config,
        encoders=[EncoderConfig("s3prl", {"upstream": "wavlm_local", "checkpoint": str(wavlm)})],
    )
    before = build_assessor(config)
    wavlm.unlink()
    state_options(saved, pretrained=True, checkpoint="https://example.org/other.pt")
    assessor = load_model(saved)
    assert assessor.network.encoders[0].differentiable
    before.load_state_dict(assessor.network.state_dict())
    with torch.inference_mode():
        expected = before.eval()(torch.from_numpy(waveform)[None], torch.tensor([4000])).scores
    scores = assessor.score(waveform, 16000)
    assert all(torch.equal(scores[name], expected[name]) for name in expected)
    assert torch.isfinite(scores["mos"]).all()


@pytest.mark.usefixtures("nothing_is_fetched")
@pytest.mark.parametrize(
    ("upstream", "checkpoint"),
    [("wavlm_base", None), ("wavlm_url", "https://example.org/a.pt"), ("hf_hubert_custom", "a/b")],
)
def test_a_saved_model_that_leaves_its_upstream_to_a_download_is_refused(
    saved, upstream, checkpoint
):
    state_options(saved, upstream=upstream, checkpoint=checkpoint, structure=None, pretrained=True)
    with pytest.raises(CheckpointError, match=rf"options\.structure is missing: .*'{upstream}'"):
        load_model(saved)


def test_code_in_a_saved_structure_is_not_run(saved, tmp_path):
    state_convolutions(saved, f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()")
    with pytest.raises(CheckpointError, match="expected no code"):
        load_model(saved)
    assert not (tmp_path / "ran").exists()


def test_a_number_without_end_in_a_saved_structure_is_not_computed(saved):
    state_convolutions(saved, "9 ** 9 ** 9 ** 9")
    with pytest.raises(CheckpointError, match="expected no code"):
        load_model(saved)


@pytest.mark.parametrize(
    "setting",
    [
        "[(8, 10, 5)] * 100000000",
        "[(8, 10, 5)] * (1 + 99999999)",
        "[[(8, 10, 5)] * 100] * 100",
        "'a' * 3000000000",
        f"[8] * {10**400} * {10**400} * cfg.encoder_layers",
        "[(8, 10, 5)] * cfg.encoder_ffn_embed_dim",
    ],
)
def test_a_long_list_in_a_saved_structure_is_not_made(saved, setting):
    state_convolutions(saved, setting)
    with pytest.raises(CheckpointError, match="nothing repeated more than 100 times"):
        load_model(saved)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("encoder_layers", 20_000, "more layers than"),
        ("encoder_ffn_embed_dim", 20_000_000, r"tensor of shape \(20000000, 16\)"),
        ("conv_pos", 10**9, r"tensor of shape \(16, 16, 1000000000\)"),
    ],
)
def test_a_structure_of_more_than_the_weights_is_refused_before_it_costs(
    saved, setting, value, message
):
    structure = state_options(saved)["structure"]
    structure["checkpoint"]["cfg"][setting] = value
    state_options(saved, structure=structure)
    began = time.process_time()
    with pytest.raises(CheckpointError, match=message):
        load_model(saved)
    assert time.process_time() - began < 1


def test_code_in_a_checkpoint_is_not_run(wavlm, tmp_path):
    stored = torch.load(wavlm, weights_only=True)  # noqa: TID251 - written by the fixture
    stored["cfg"]["conv_feature_layers"] = f"open({str(tmp_path / 'ran')!r}, 'w')"
    torch.save(stored, wavlm)
    with pytest.raises(ConfigError, match="expected no code"):
        build("wavlm_local", checkpoint=str(wavlm))
    assert not (tmp_path / "ran").exists()


def test_a_structure_that_s3prl_cannot_build_is_refused(saved):
    state_convolutions(saved, "nothing")
    with pytest.raises(CheckpointError, match="s3prl cannot make a wavlm upstream"):
        load_model(saved)


def test_a_saved_model_on_computed_features_is_loaded(tiny_config, tmp_path):
    model = save(tmp_path / "saved", tiny_config, upstream="fbank")
    state_options(model, checkpoint="https://example.org/other.pt")
    assert load_model(model).network.encoders[0].dim == build("fbank").dim


@pytest.mark.parametrize("upstream", ["fbank", "mfcc", "mel"])
def test_computed_features_are_not_computed_in_16_bits(upstream, recordings):
    encoder = build(upstream)
    waveform, lengths = recordings([8000])
    expected = encoder(waveform, lengths).hidden_states
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(waveform, lengths).hidden_states
    torch.testing.assert_close(features, expected, rtol=0, atol=0)


def test_an_upstream_that_no_saved_model_holds_is_told_when_built(hf_hubert):
    with pytest.warns(UserWarning, match="hf_hubert can be trained and saved, but not loaded"):
        build("hf_hubert_custom", checkpoint=str(hf_hubert))
