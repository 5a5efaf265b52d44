"""What holds for every family: a recording's features belong to the recording."""

import dataclasses
from typing import Any

import pytest
import torch

from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders import ENCODERS, Encoder, build_encoder

from .test_own_encoders import TINY_TRANSFORMER

# s3prl and what it imports warn of their own age.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = {"num_attention_heads": 2, "intermediate_size": 24}
WAVEFORM = {
    "hidden_size": 16, "num_hidden_layers": 2, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "group", **SIZES,
}  # fmt: skip
# Pieces of one second.
LOG_MEL = {
    "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
    "num_mel_bins": 80, "max_source_positions": 50,
}  # fmt: skip
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "wavlm": {**WAVEFORM, "num_buckets": 8, "max_bucket_distance": 20},
    "hubert": WAVEFORM,
    "wav2vec2": WAVEFORM,
    "data2vec": {**WAVEFORM, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5},
    "whisper": LOG_MEL,
    "kimi_audio": LOG_MEL,
    "qwen2_audio": LOG_MEL,
    "audio_flamingo3": LOG_MEL,
    "qwen3_omni": {
        **LOG_MEL, "downsample_hidden_size": 8, "output_dim": 20, "n_window": 50,
        "n_window_infer": 200, "max_source_positions": 20,
    },
    "wav2vec2_bert": {
        "hidden_size": 16, "num_hidden_layers": 2, "conv_depthwise_kernel_size": 5, **SIZES,
    },
}  # fmt: skip
OWN = ("log_mel", "complex_spectrum")
OTHERS = ("spectral_transformer", "distill_mos", "s3prl", "torchaudio")


def tiny_bundle(monkeypatch: pytest.MonkeyPatch) -> EncoderConfig:
    torchaudio = pytest.importorskip("torchaudio", exc_type=ImportError)
    real = torchaudio.pipelines.WAVLM_BASE_PLUS
    tiny = {
        "extractor_conv_layer_config": [(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8, 2, 2)] * 2,
        "encoder_embed_dim": 16, "encoder_pos_conv_kernel": 8, "encoder_pos_conv_groups": 2,
        "encoder_num_layers": 2, "encoder_num_heads": 2, "encoder_ff_interm_features": 24,
        "encoder_num_buckets": 8,
    }  # fmt: skip
    shrunk = dataclasses.replace(real, _params={**real._params, **tiny})
    monkeypatch.setattr(torchaudio.pipelines, "WAVLM_BASE_PLUS", shrunk)
    return EncoderConfig("torchaudio", {"bundle": "WAVLM_BASE_PLUS", "pretrained": False})


def config_of(
    family: str, tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> EncoderConfig:
    if family in ARCHITECTURES:
        pytest.importorskip("transformers")
        options = {"architecture": ARCHITECTURES[family], "pretrained": False}
        normalise = {"normalise": False} if ARCHITECTURES[family].get("conv_dim") else {}
        return EncoderConfig(family, options | normalise)
    if family in OWN:
        return next(each for each in tiny_config.encoders if each.family == family)
    if family == "spectral_transformer":
        return TINY_TRANSFORMER
    if family == "distill_mos":
        pytest.importorskip("distillmos", exc_type=ImportError)
        return EncoderConfig("distill_mos")
    if family == "torchaudio":
        return tiny_bundle(monkeypatch)
    pytest.importorskip("s3prl", exc_type=ImportError)
    return EncoderConfig("s3prl", {"upstream": "fbank"})


@pytest.fixture(params=[*ARCHITECTURES, *OWN, *OTHERS])
def encoder(
    request: pytest.FixtureRequest, tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> Encoder:
    """A small encoder of each family, with random weights (Distill-MOS has its own)."""
    torch.manual_seed(0)
    return build_encoder(config_of(request.param, tiny_config, monkeypatch)).eval()


def test_no_family_is_left_out() -> None:
    assert {*ARCHITECTURES, *OWN, *OTHERS} == set(ENCODERS)


def test_padding_batch_mates_and_their_order_change_nothing(
    encoder: Encoder, recordings, assert_alone_as_in_batch
) -> None:
    waveform, lengths = recordings([12_000, 19_000, 7_000], padded_to=21_000)
    assert_alone_as_in_batch(encoder, (waveform, lengths), tolerance=5e-5)
    with torch.no_grad():
        forward, backward = encoder(waveform, lengths), encoder(waveform.flip(0), lengths.flip(0))
    for row, frames in enumerate(forward.lengths.tolist()):
        torch.testing.assert_close(
            forward.hidden_states[row, :, :frames],
            backward.hidden_states[len(lengths) - 1 - row, :, :frames],
            atol=5e-5,
            rtol=5e-5,
        )


def test_a_second_run_is_the_same_and_threads_change_nothing(encoder: Encoder, recordings) -> None:
    batch = recordings([12_000, 7_000])
    outputs = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 1, 2):
            torch.set_num_threads(threads)
            with torch.no_grad():
                outputs.append(encoder(*batch).hidden_states)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2], atol=5e-5, rtol=5e-5)


def test_bfloat16_stays_close(encoder: Encoder, recordings) -> None:
    batch = recordings([18_000, 6_000])
    with torch.no_grad():
        expected = encoder(*batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = encoder(*batch)
    valid = torch.arange(expected.hidden_states.shape[2]) < expected.lengths[:, None]
    difference = (output.hidden_states.float() - expected.hidden_states).abs().mean(dim=(1, 3))
    size = expected.hidden_states.abs().mean(dim=(1, 3))
    assert float(difference[valid].mean()) < 0.05 * float(size[valid].mean())
