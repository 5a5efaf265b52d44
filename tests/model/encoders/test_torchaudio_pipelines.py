import pytest
import torch

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder

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
