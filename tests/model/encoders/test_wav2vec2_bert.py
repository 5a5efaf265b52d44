from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder, kaldi_features
from urgentmos.model.encoders.kaldi_features import KaldiFeatures

from . import tiny

transformers = pytest.importorskip("transformers")


@pytest.fixture(params=tiny.WAV2VEC2_BERT_POSITIONS)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[nn.Module, Path]:
    """The library's model with random weights, and that model on disk."""
    torch.manual_seed(0)
    config = transformers.Wav2Vec2BertConfig(
        **tiny.WAV2VEC2_BERT, position_embeddings_type=request.param
    )
    model = transformers.Wav2Vec2BertModel(config).eval()
    tiny.shake(model)
    model.save_pretrained(tmp_path)
    return model, tmp_path


def build(checkpoint: tuple[nn.Module, Path], **options: object) -> Encoder:
    config = EncoderConfig("wav2vec2_bert", {"checkpoint": str(checkpoint[1]), **options})
    return build_encoder(config).eval()


def official_features(waveform: torch.Tensor) -> torch.Tensor:
    extractor = transformers.SeamlessM4TFeatureExtractor()
    inputs = extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt")
    return inputs.input_features[:, inputs.attention_mask[0].bool()]


def official_log_mel(waveform: torch.Tensor, dtype: type) -> np.ndarray:
    extractor = transformers.SeamlessM4TFeatureExtractor()
    return transformers.audio_utils.spectrogram(
        waveform.numpy() * 2.0**15, extractor.window, frame_length=400, hop_length=160,
        fft_length=512, power=2.0, center=False, preemphasis=0.97,
        mel_filters=extractor.mel_filters, log_mel="log", mel_floor=1.192092955078125e-07,
        remove_dc_offset=True, dtype=dtype,
    ).T  # fmt: skip


def normalise_bands(log_mel: np.ndarray) -> np.ndarray:
    """The extractor's own line."""
    return (log_mel - log_mel.mean(0)) / np.sqrt(log_mel.var(0, ddof=1) + 1e-7)


def stack_pairs(normed: np.ndarray) -> torch.Tensor:
    pairs = len(normed) // 2
    return torch.from_numpy(normed[: 2 * pairs].reshape(1, pairs, -1)).float()


def precise_features(waveform: torch.Tensor) -> torch.Tensor:
    """The official spectrogram, normalised in double precision.

    The extractor's are within 4e-6 of these, which the layers make 2e-5 of hidden states. Its
    variance over n - 1 and its 1e-7 are ours too; what remains is that it rounds the spectrogram to
    single precision and adds up each band in single precision, in the order in which numpy goes
    through memory. Rounding as it does is not enough; only adding in numpy's order would be, and
    that order is no part of the features: on 16 s, the extractor's own line on a copy that lies in
    memory in rows differs more from the extractor than we do, as a test below shows.
    """
    return stack_pairs(normalise_bands(official_log_mel(waveform, np.float64)))


def test_features_are_those_of_the_official_extractor(recordings):
    waveform, lengths = recordings([8_765])
    ours, frames = KaldiFeatures(80)(waveform, lengths)
    expected = official_features(waveform[0])
    assert frames.tolist() == [expected.shape[1]]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_official_features_differ_from_ours_by_less_than_from_themselves_in_rows(recordings):
    waveform, lengths = recordings([256_000])
    log_mel = official_log_mel(waveform[0], np.float32)
    official = stack_pairs(normalise_bands(log_mel))
    assert torch.equal(official, official_features(waveform[0]))
    in_rows = stack_pairs(normalise_bands(np.ascontiguousarray(log_mel)))
    ours, _ = KaldiFeatures(80)(waveform, lengths)
    assert (ours - official).abs().max() < (in_rows - official).abs().max() / 2


def test_features_without_float64_stay_close(recordings, without_float64, monkeypatch):
    waveform, lengths = recordings([8_765])
    expected, _ = KaldiFeatures(80)(waveform, lengths)
    monkeypatch.setattr(kaldi_features, "WITHOUT_FLOAT64", ("cpu",))
    features = KaldiFeatures(80)
    with without_float64:
        single, _ = features(waveform, lengths)
    torch.testing.assert_close(single, expected, atol=1e-2, rtol=0)


def test_hidden_states_are_those_of_the_library(checkpoint, recordings):
    waveform, lengths = recordings([8_765])
    with torch.no_grad():
        result = checkpoint[0](precise_features(waveform[0]), output_hidden_states=True)
        output = build(checkpoint)(waveform, lengths)
    expected = torch.stack(result.hidden_states, dim=1)
    torch.testing.assert_close(output.hidden_states, expected, atol=1e-5, rtol=1e-5)


def test_positions_move_with_the_weights(checkpoint: tuple[nn.Module, Path]) -> None:
    waveform, lengths = torch.randn(1, 8000), torch.tensor([8000])
    moved, fresh = build(checkpoint), build(checkpoint)
    with torch.no_grad():
        moved(waveform, lengths)
        states = [
            encoder.double()(waveform.double(), lengths).hidden_states for encoder in (moved, fresh)
        ]
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.fixture(params=[*tiny.WAV2VEC2_BERT_POSITIONS, "relative beyond its table"])
def alone(request: pytest.FixtureRequest) -> Encoder:
    """An encoder without a checkpoint; one whose table of positions is too short for the tests."""
    name = request.param
    table = {"max_source_positions": 10} if "beyond" in name else {}
    kind = {"position_embeddings_type": name.partition(" ")[0]}
    architecture = {**tiny.WAV2VEC2_BERT, **kind, **table}
    torch.manual_seed(0)
    options = {"architecture": architecture, "pretrained": False, "trainable_layers": "all"}
    encoder = build_encoder(EncoderConfig("wav2vec2_bert", options)).eval()
    tiny.shake(encoder)
    return encoder


def test_gradient_passes_after_scoring(alone: Encoder) -> None:
    waveform, lengths = torch.randn(1, 8000), torch.tensor([8000])
    with torch.inference_mode():
        alone(waveform, lengths)
    states = alone(waveform.requires_grad_(), lengths).hidden_states
    (gradient,) = torch.autograd.grad(states.sin().sum(), waveform)
    assert gradient.abs().sum() > 0


def test_a_pass_in_16_bits_does_not_change_later_ones(alone: Encoder) -> None:
    waveform, lengths = torch.randn(1, 8000), torch.tensor([8000])
    with torch.no_grad():
        expected = alone(waveform, lengths).hidden_states
        with torch.autocast("cpu", torch.bfloat16):
            # The first, of another length, so that the second takes nothing kept of the pass above.
            alone(waveform[:, :6000], torch.tensor([6000]))
            alone(waveform, lengths)
        again = alone(waveform, lengths).hidden_states
    torch.testing.assert_close(again, expected, rtol=0, atol=0)
