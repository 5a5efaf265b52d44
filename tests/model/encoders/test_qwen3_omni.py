from pathlib import Path

import pytest
import torch
from torch import nn

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder

from . import tiny

transformers = pytest.importorskip("transformers")
modeling = pytest.importorskip("transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe")


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[nn.Module, Path]:
    """The library's tower with random weights, and that tower on disk."""
    torch.manual_seed(0)
    config = modeling.Qwen3OmniMoeAudioEncoderConfig(**tiny.QWEN3_OMNI)
    model = modeling.Qwen3OmniMoeAudioEncoder(config).eval()
    tiny.shake(model)
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


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"n_window": 0}, "n_window: expected 1 to 1000, got 0"),
        ({"n_window": 1001}, "n_window: expected 1 to 1000, got 1001"),
        ({"n_window_infer": 99}, r"n_window_infer: expected at least 2 \* n_window = 100, got 99"),
        ({"max_source_positions": 12}, "max_source_positions: expected at least 13, .* got 12"),
    ],
)
def test_chunks_that_fit_nowhere_are_refused(stated, message):
    architecture = {**tiny.QWEN3_OMNI, **stated}
    options = {"architecture": architecture, "pretrained": False}
    with pytest.raises(ConfigError, match=rf"architecture\.{message}"):
        build_encoder(EncoderConfig("qwen3_omni", options))
