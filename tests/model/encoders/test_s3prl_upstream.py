from functools import partial
from pathlib import Path

import pytest
import torch

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder

pytest.importorskip("torchaudio", exc_type=ImportError)
pytest.importorskip("s3prl", exc_type=ImportError)

# s3prl and what it imports warn of their own age.
pytestmark = pytest.mark.filterwarnings("ignore")


def build(upstream: str, **options: object) -> Encoder:
    return build_encoder(EncoderConfig("s3prl", {"upstream": upstream, **options})).eval()


@pytest.fixture
def wavlm(tmp_path: Path) -> Path:
    """A tiny WavLM in the format of its authors, with a group-norm front end."""
    build("fbank")  # makes s3prl importable
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    settings = {
        "extractor_mode": "default",
        "encoder_layers": 2,
        "encoder_embed_dim": 16,
        "encoder_ffn_embed_dim": 24,
        "encoder_attention_heads": 2,
        "conv_feature_layers": "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
        "conv_pos": 8,
        "conv_pos_groups": 2,
        "relative_position_embedding": True,
        "num_buckets": 8,
        "max_distance": 20,
        "gru_rel_pos": True,
        "normalize": False,
    }
    torch.manual_seed(0)
    model = WavLM(WavLMConfig(settings))
    torch.save({"cfg": settings, "model": model.state_dict()}, tmp_path / "wavlm.pt")
    return tmp_path / "wavlm.pt"


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


def test_alone_as_in_padded_batch(encoder, recordings, assert_alone_as_in_batch):
    assert_alone_as_in_batch(encoder, recordings([6000, 4321, 6000, 800], padded_to=9000))


def test_gradient_that_the_upstream_switches_off_is_switched_on(
    encoder, recordings, assert_gradient_is_right
):
    assert encoder.differentiable
    assert_gradient_is_right(encoder, recordings([3000, 2000]))


def test_upstream_without_gradient_says_so(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    config = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        conv_dim=[8] * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.HubertModel(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    encoder = build("hf_hubert_custom", checkpoint=str(tmp_path))
    assert not encoder.differentiable
    assert "no gradient reaches the waveform" in encoder.gradient_note


def test_states_of_another_width_or_rate_are_left_out(encoder, recordings):
    encoder.tower._hidden_sizes[0] = 99
    from urgentmos.model.encoders.s3prl_upstream import S3prlConfig, S3prlEncoder

    again = S3prlEncoder(encoder.tower, config=S3prlConfig(upstream="wavlm_local"))
    assert again.num_layers == encoder.num_layers - 1
    assert again(*recordings([4000])).hidden_states.shape[1] == again.num_layers


def test_last_layers_are_trained(wavlm, assert_last_layers_are_trained):
    assert_last_layers_are_trained(
        partial(build, "wavlm_local", checkpoint=str(wavlm)), "tower.upstream.model.encoder.layers"
    )


def test_gradient_checkpointing_changes_nothing(wavlm, recordings):
    gradients = []
    for saving in (False, True):
        waveform, lengths = recordings([3000, 2000])
        waveform.requires_grad_()
        build("wavlm_local", checkpoint=str(wavlm), gradient_checkpointing=saving)(
            waveform, lengths
        ).hidden_states.square().sum().backward()
        gradients.append(waveform.grad)
    torch.testing.assert_close(*gradients)


def test_unknown_upstream_is_refused():
    with pytest.raises(ConfigError, match="s3prl has no 'wavelm'"):
        build("wavelm")


def test_structure_without_checkpoint_is_refused():
    with pytest.raises(ConfigError, match="defined by its checkpoint"):
        build("fbank", pretrained=False)
