from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder

transformers = pytest.importorskip("transformers")
modeling = pytest.importorskip("transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe")

TINY = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 80,
    "downsample_hidden_size": 8,
    "output_dim": 20,
    "n_window": 50,
    "n_window_infer": 200,  # windows of two seconds instead of eight
    "max_source_positions": 20,
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[nn.Module, Path]:
    """The library's tower with random weights, and that tower on disk."""
    torch.manual_seed(0)
    config = modeling.Qwen3OmniMoeAudioEncoderConfig(**TINY)
    model = modeling.Qwen3OmniMoeAudioEncoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(tmp_path)
    return model, tmp_path


def build(checkpoint: tuple[nn.Module, Path], **options: object) -> Encoder:
    config = EncoderConfig("qwen3_omni", {"checkpoint": str(checkpoint[1]), **options})
    return build_encoder(config).eval()


@pytest.mark.parametrize("samples", [9_000, 16_000, 27_111, 60_000])
def test_hidden_states_are_those_of_the_library(samples, checkpoint, recordings):
    waveform, lengths = recordings([samples])
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    features = extractor(
        waveform[0].numpy(), sampling_rate=16000, return_tensors="pt", padding="longest"
    ).input_features
    with torch.no_grad():
        result = checkpoint[0](
            features[0],
            feature_lens=torch.tensor([features.shape[2]]),
            output_hidden_states=True,
        )
        states = list(result.hidden_states)
        states[-1] = checkpoint[0].ln_post(states[-1])
        output = build(checkpoint)(waveform, lengths)
    expected = torch.stack(states, dim=0)[None]
    torch.testing.assert_close(output.hidden_states, expected, atol=1e-5, rtol=1e-5)


def test_thirteen_frames_a_second(checkpoint, recordings):
    encoder = build(checkpoint)
    assert encoder.frame_rate == 13
    assert encoder(*recordings([48_000])).lengths.tolist() == [39]


def test_alone_as_in_padded_batch(checkpoint, recordings, assert_alone_as_in_batch):
    encoder = build(checkpoint)
    assert_alone_as_in_batch(encoder, recordings([50_000, 20_321, 9_000, 201], padded_to=60_000))


def test_gradient_agrees_with_finite_differences(checkpoint, recordings, assert_gradient_is_right):
    assert_gradient_is_right(build(checkpoint), recordings([18_000, 3_000]), step=1e-8)


def test_gradient_is_finite_on_silence(checkpoint, assert_silence_has_finite_gradient):
    assert_silence_has_finite_gradient(build(checkpoint), 4000)


def test_gradient_checkpointing_changes_nothing(
    checkpoint, recordings, assert_gradient_is_that_of_checkpointing
):
    plain, saving = (build(checkpoint, gradient_checkpointing=on) for on in (False, True))
    assert_gradient_is_that_of_checkpointing(plain, saving, recordings([18_000, 2000]))


def test_last_layers_are_trained(checkpoint, assert_last_layers_are_trained):
    assert_last_layers_are_trained(partial(build, checkpoint), "tower.layers")


def test_a_loaded_encoder_hears_the_same(checkpoint, recordings, assert_loaded_hears_the_same):
    assert_loaded_hears_the_same(
        build(checkpoint), "qwen3_omni", recordings([18000]), checkpoint="nowhere/at-all"
    )
