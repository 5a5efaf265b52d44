from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from urgentmos.config import ConfigError
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders import Encoder, build_encoder
from urgentmos.model.network import build_assessor

from . import tiny

torchaudio = pytest.importorskip("torchaudio", exc_type=(ImportError, OSError))


@pytest.fixture(params=tiny.BUNDLES)
def bundle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bundle whose model is tiny."""
    tiny.shrink_bundle(request.param, monkeypatch)
    return request.param


def build(bundle: str, **options: object) -> Encoder:
    torch.manual_seed(0)
    options = {"bundle": bundle, "pretrained": False, **options}
    return build_encoder(EncoderConfig("torchaudio", options)).eval()


def test_hidden_states_are_those_of_the_bundle(bundle, recordings):
    encoder = build(bundle)
    waveform, lengths = recordings([8000])
    normalise = getattr(torchaudio.pipelines, bundle)._normalize_waveform
    inputs = torch.nn.functional.layer_norm(waveform, waveform.shape) if normalise else waveform
    with torch.no_grad():
        expected, _ = encoder.tower.extract_features(inputs)
        output = encoder(waveform, lengths)
    assert output.hidden_states.shape == (1, 2, 24, 16)
    torch.testing.assert_close(output.hidden_states, torch.stack(expected, dim=1))


def test_pretrained_weights_are_read_as_tensors_only(bundle, monkeypatch):
    model = build(bundle).tower
    seen = {}
    # Published with rows that torchaudio takes out.
    described = getattr(torchaudio.pipelines, bundle)
    rows = described._params["aux_num_out"]
    letters = {}
    if rows is not None:
        rows += len(described._remove_aux_axis)
        letters = {"aux.weight": torch.zeros(rows, 16), "aux.bias": torch.zeros(rows)}

    def load(url: str, **options: object) -> dict:
        seen.update(options)
        return {**model.state_dict(), **letters}

    monkeypatch.setattr("torchaudio.pipelines._wav2vec2.utils.load_state_dict_from_url", load)
    loaded = build(bundle, pretrained=True).tower
    assert seen == {"weights_only": True}
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name])


def test_unknown_bundle_is_refused():
    with pytest.raises(ConfigError, match="torchaudio has no 'WAVLM_TINY'"):
        build("WAVLM_TINY")


def test_weights_that_cannot_be_downloaded_are_told_by_their_name(monkeypatch: pytest.MonkeyPatch):
    def unreached(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(type(torchaudio.pipelines.WAVLM_BASE), "get_model", unreached)
    with pytest.raises(ConfigError, match=r"wavlm_base\.pth, could not be downloaded.*not known"):
        build("WAVLM_BASE", pretrained=True)


def test_a_model_saved_with_the_letters_of_speech_recognition_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tiny_config: ModelConfig, tmp_path: Path
) -> None:
    tiny.shrink_bundle("WAV2VEC2_ASR_BASE_960H", monkeypatch)
    options = {"bundle": "WAV2VEC2_ASR_BASE_960H", "pretrained": False}
    config = replace(tiny_config, encoders=[EncoderConfig("torchaudio", options)])
    save_model(tmp_path, build_assessor(config), config, {})
    weights = load_file(tmp_path / "model.safetensors")
    assert not [name for name in weights if ".aux." in name]
    expected = load_model(tmp_path).score(torch.ones(8000), 16000)
    weights["encoders.0.tower.aux.weight"] = torch.ones(29, 16)
    save_file(weights, tmp_path / "model.safetensors")
    assert load_model(tmp_path).score(torch.ones(8000), 16000) == expected
