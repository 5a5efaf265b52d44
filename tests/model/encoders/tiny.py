"""Small architectures of every family, with random weights."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import build_encoder

# One group of 16 channels: with fewer to a group, torch's convolutions with an even kernel are
# wrong in bfloat16 on processors with AMX (torch 2.11 and 2.13). Published models have 48 and more.
WAVEFORM: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 1,
}  # fmt: skip
_BASE = {**WAVEFORM, "feat_extract_norm": "group"}
_LARGE = {
    **WAVEFORM, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
}  # fmt: skip
_BUCKETS = {"num_buckets": 8, "max_bucket_distance": 20}
WAVEFORM_TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "wavlm base": ("wavlm", {**_BASE, **_BUCKETS}),
    "wavlm large": ("wavlm", {**_LARGE, **_BUCKETS}),
    "hubert base": ("hubert", _BASE),
    "hubert large": ("hubert", _LARGE),
    "distilhubert": ("hubert", {**_BASE, "conv_pos_batch_norm": True}),
    "wav2vec2 base": ("wav2vec2", _BASE),
    "xls-r": ("wav2vec2", _LARGE),
    "data2vec": (
        "data2vec", {**WAVEFORM, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5},
    ),
}  # fmt: skip
"""A layout of weights by name: its family and its architecture in the terms of transformers."""

# Pieces of one second instead of thirty.
WHISPER_POSITIONS, WHISPER_PIECE_SAMPLES = 50, 16_000
WHISPER = {
    "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
    "num_mel_bins": 80, "max_source_positions": WHISPER_POSITIONS,
}  # fmt: skip
WHISPER_FAMILIES = ("whisper", "kimi_audio", "qwen2_audio", "audio_flamingo3")
QWEN3_OMNI = {
    **WHISPER, "downsample_hidden_size": 8, "output_dim": 20, "n_window": 50,
    "n_window_infer": 200,  # windows of two seconds instead of eight
    "max_source_positions": 20,
}  # fmt: skip
WAV2VEC2_BERT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "conv_depthwise_kernel_size": 5, "left_max_position_embeddings": 8,
    "right_max_position_embeddings": 4,
}  # fmt: skip
WAV2VEC2_BERT_POSITIONS = ("relative_key", "relative", "rotary")
SPECTRAL_TRANSFORMER = {
    "dim": 8, "channels": [4, 4, 4], "time_strides": [2, 2, 1], "frequency_strides": [4, 4, 4],
    "layers": 2, "heads": 2, "feedforward": 16,
}  # fmt: skip
BUNDLES = (
    "WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE_PLUS", "WAVLM_LARGE", "WAV2VEC2_ASR_BASE_960H",
)  # fmt: skip
_BUNDLE = {
    "extractor_conv_layer_config": [(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8, 2, 2)] * 2,
    "encoder_embed_dim": 16, "encoder_pos_conv_kernel": 8, "encoder_pos_conv_groups": 1,
    "encoder_num_layers": 2, "encoder_num_heads": 2, "encoder_ff_interm_features": 24,
}  # fmt: skip


def shake(module: torch.nn.Module) -> None:
    """Move every weight a little: what starts at zero or one would not show a mistake."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)


def shrink_bundle(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the model of one of torchaudio's bundles tiny."""
    torchaudio = pytest.importorskip("torchaudio", exc_type=(ImportError, OSError))
    real = getattr(torchaudio.pipelines, bundle)
    buckets = {"encoder_num_buckets": 8} if "WAVLM" in bundle else {}
    shrunk = dataclasses.replace(real, _params={**real._params, **_BUNDLE, **buckets})
    monkeypatch.setattr(torchaudio.pipelines, bundle, shrunk)


def save_s3prl_wavlm(path: Path) -> Path:
    """Write a WavLM in the format of its authors, with a group-norm front end."""
    build_encoder(EncoderConfig("s3prl", {"upstream": "fbank"}))  # makes s3prl importable
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    settings = {
        "extractor_mode": "default", "encoder_layers": 2, "encoder_embed_dim": 16,
        "encoder_ffn_embed_dim": 24, "encoder_attention_heads": 2,
        "conv_feature_layers": "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2", "conv_pos": 8,
        "conv_pos_groups": 1, "relative_position_embedding": True, "num_buckets": 8,
        "max_distance": 20, "gru_rel_pos": True, "normalize": False,
    }  # fmt: skip
    torch.manual_seed(0)
    model = WavLM(WavLMConfig(settings))
    torch.save({"cfg": settings, "model": model.state_dict()}, path)
    return path
