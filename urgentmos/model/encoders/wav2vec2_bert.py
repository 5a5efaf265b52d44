"""wav2vec2-BERT: log-mel features, then Conformer layers whose convolutions look back only."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from urgentmos.masks import lengths_to_mask
from urgentmos.model.encoders.audio_tower import (
    TowerConfig,
    TowerFamily,
    build_tower,
    options_to_store,
)
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.encoders.kaldi_features import HOP_SAMPLES, WINDOW_SAMPLES, KaldiFeatures
from urgentmos.model.encoders.pretrained import PretrainedEncoder, attention_mask
from urgentmos.rates import SAMPLE_RATE

_TOWER = TowerFamily(
    "Wav2Vec2BertModel",
    "Wav2Vec2BertConfig",
    prefixes=("wav2vec2_bert.",),
)


@dataclass
class Wav2Vec2BertConfig(TowerConfig):
    """Options of wav2vec2-BERT."""


class Wav2Vec2BertEncoder(PretrainedEncoder):
    """Hidden states of wav2vec2-BERT: the projected features, then each layer's output."""

    frame_rate = SAMPLE_RATE / (2 * HOP_SAMPLES)
    min_samples = WINDOW_SAMPLES + HOP_SAMPLES

    def __init__(self, tower: Any, *, config: Wav2Vec2BertConfig) -> None:
        """Wrap a tower."""
        super().__init__(tower, list(tower.encoder.layers), config=config)
        self.features = KaldiFeatures(tower.config.feature_projection_input_dim // 2)
        self.dim = tower.config.hidden_size
        self.num_layers = len(tower.encoder.layers) + 1
        self.flash = config.attention == "flash_attention_2"

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings; windows of 25 ms every 10 ms, two to a frame, only what fits."""
        features, frame_lengths = self.features(waveform, lengths)
        tower = self.tower
        valid = lengths_to_mask(frame_lengths, features.shape[1])
        hidden, _ = tower.feature_projection(features)
        hidden = tower.encoder.dropout(hidden * valid[..., None])
        inputs = {
            "attention_mask": attention_mask(valid, hidden.dtype, flash=self.flash),
            "relative_position_embeddings": _positions(tower.encoder.embed_positions, hidden),
            "conv_attention_mask": valid,
        }
        layers = [partial(layer, **inputs) for layer in tower.encoder.layers]
        states = self.run_layers(layers, hidden)
        return EncoderOutput(torch.stack(states, dim=1), frame_lengths)


def _positions(embed: Any, hidden: Float[Tensor, "batch frames dim"]) -> Tensor | None:
    """Give the layers the places of the frames; None where each layer has its own.

    They are those of the library's modules, which are not called because they keep what they give:
    made while scoring it stops the next gradient, and made in 16 bits it stays rounded.
    """
    if embed is None:
        return None
    frames = hidden.shape[1]
    if hasattr(embed, "inv_freq"):
        steps = torch.arange(frames, device=hidden.device).to(embed.inv_freq.dtype)
        angles = torch.outer(steps, embed.inv_freq).repeat(1, 2)
        return torch.stack((angles.cos(), angles.sin()))[:, :, None, None].to(hidden.dtype)
    # Only the length, type and device of the first are looked at.
    table: Tensor = embed.extend_pe(hidden[..., 0].to(embed.pe.dtype), embed.pe)
    middle = table.shape[1] // 2
    return table[:, middle - frames + 1 : middle + frames].to(hidden.dtype)


def build_wav2vec2_bert(config: Wav2Vec2BertConfig) -> Wav2Vec2BertEncoder:
    """Make the encoder from a checkpoint, as ``facebook/w2v-bert-2.0``."""
    tower = build_tower(_TOWER, config)
    encoder = Wav2Vec2BertEncoder(tower, config=config)
    encoder.stored_options = options_to_store(tower)
    return encoder
