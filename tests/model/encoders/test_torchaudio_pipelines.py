import dataclasses
from functools import partial

import pytest
import torch

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder

torchaudio = pytest.importorskip("torchaudio", exc_type=(ImportError, OSError))

TINY = {
    "extractor_conv_layer_config": [(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8, 2, 2)] * 2,
    "encoder_embed_dim": 16,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 2,
    "encoder_num_heads": 2,
    "encoder_ff_interm_features": 24,
}


@pytest.fixture(params=["WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE_PLUS", "WAVLM_LARGE"])
def bundle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bundle whose model is tiny."""
    real = getattr(torchaudio.pipelines, request.param)
    tiny = {**TINY, **({"encoder_num_buckets": 8} if "WAVLM" in request.param else {})}
    shrunk = dataclasses.replace(real, _params={**real._params, **tiny})
    monkeypatch.setattr(torchaudio.pipelines, request.param, shrunk)
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


def test_alone_as_in_padded_batch(bundle, recordings, assert_alone_as_in_batch):
    assert_alone_as_in_batch(build(bundle), recordings([6000, 4321, 6000, 400], padded_to=9000))


def test_gradient_agrees_with_finite_differences(bundle, recordings, assert_gradient_is_right):
    assert_gradient_is_right(build(bundle), recordings([3000, 2000]))


def test_gradient_checkpointing_changes_nothing(bundle, recordings):
    gradients = []
    for saving in (False, True):
        waveform, lengths = recordings([3000, 2000])
        waveform.requires_grad_()
        build(bundle, gradient_checkpointing=saving)(
            waveform, lengths
        ).hidden_states.square().sum().backward()
        gradients.append(waveform.grad)
    torch.testing.assert_close(*gradients)


def test_last_layers_are_trained(bundle, assert_last_layers_are_trained):
    assert_last_layers_are_trained(partial(build, bundle), "tower.encoder.transformer.layers")


def test_a_loaded_encoder_hears_the_same(bundle, recordings, assert_loaded_hears_the_same):
    assert_loaded_hears_the_same(build(bundle), "torchaudio", recordings([3000]), bundle=bundle)


def test_pretrained_weights_are_read_as_tensors_only(bundle, monkeypatch):
    model = build(bundle).tower
    seen = {}

    def load(url: str, **options: object) -> dict:
        seen.update(options)
        return model.state_dict()

    monkeypatch.setattr("torchaudio.pipelines._wav2vec2.utils.load_state_dict_from_url", load)
    loaded = build(bundle, pretrained=True).tower
    assert seen == {"weights_only": True}
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name])


def test_unknown_bundle_is_refused():
    with pytest.raises(ConfigError, match="torchaudio has no 'WAVLM_TINY'"):
        build("WAVLM_TINY")
