"""Whisper and the encoders made from it: Kimi-Audio's, Qwen2-Audio's, Audio Flamingo 3's.

All hear 30 s of log-mel spectrogram at once, silence after a shorter recording included, and go
two frames to one in a convolution. Longer recordings are heard in pieces of 30 s and put back in
time. Where attention is not masked, as in Whisper itself, the silence is part of what they hear,
so it is always there and always costs 30 s of work. Audio Flamingo 3 masks it; there only the
frames of the batch's longest recording are computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from urgentmos.masks import lengths_to_mask
from urgentmos.model.encoders.audio_tower import (
    TowerConfig,
    TowerFamily,
    build_tower,
    options_to_store,
)
from urgentmos.model.encoders.chunking import Chunks, cut, join
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.encoders.framing import num_frames
from urgentmos.model.encoders.pretrained import PretrainedEncoder, attention_mask
from urgentmos.model.encoders.whisper_features import HOP_SAMPLES, WhisperFeatures
from urgentmos.rates import SAMPLE_RATE

# Each convolution lets the frames next to the last valid one see one frame of what follows.
_CONVOLVED_MARGIN = 4


@dataclass
class WhisperConfig(TowerConfig):
    """Options of Whisper and its relatives."""


@dataclass(frozen=True)
class _Kind:
    """How one relative differs.

    Attributes:
        tower: Where transformers and checkpoints keep it.
        pooled: Whether it averages pairs of frames at the end, so that 25 of 50 are left.
        masked: Whether attention leaves out what follows the recording.
    """

    tower: TowerFamily
    pooled: bool
    masked: bool


class WhisperEncoder(PretrainedEncoder):
    """Hidden states of a Whisper-like encoder, its positional embedding included in the first.

    The last is the library's ``last_hidden_state``, final norm included. Where the encoder averages
    pairs of frames after its layers, the states before are averaged the same way, so that all have
    one length.
    """

    def __init__(self, tower: Any, *, pooled: bool, masked: bool, config: WhisperConfig) -> None:
        """Wrap a tower.

        Args:
            tower: The encoder of transformers.
            pooled: Whether pairs of frames are averaged.
            masked: Whether attention is masked.
            config: What is trained and how.
        """
        super().__init__(tower, list(tower.layers), config=config)
        self.features = WhisperFeatures(tower.config.num_mel_bins)
        self.dim = tower.config.d_model
        self.num_layers = len(tower.layers) + 1
        self.pooled, self.masked = pooled, masked
        self.frame_samples = HOP_SAMPLES * (4 if pooled else 2)
        self.frame_rate = SAMPLE_RATE / self.frame_samples
        # A pair of frames is averaged only where both are valid: more than one and a half.
        self.min_samples = 2 * HOP_SAMPLES + 1 if pooled else 1
        self.chunk_samples = tower.config.max_source_positions * 2 * HOP_SAMPLES
        self.flash = config.attention == "flash_attention_2"

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings; ``ceil(samples / 320)`` frames, or half of that, rounded down."""
        chunks = cut(
            waveform[:, : int(lengths.max())],
            lengths,
            chunk_samples=self.chunk_samples,
            frame_samples=self.frame_samples,
        )
        hidden = self._embed(chunks)
        mask = self._mask(chunks, hidden) if self.masked else None
        states = self.run_layers(self.tower.layers, hidden, mask)
        if self.pooled:
            states = [_average_pairs(state) for state in states]
        states[-1] = self.tower.layer_norm(states[-1])
        frame_lengths = self._count(lengths)
        hidden_states = join(
            torch.stack(states, dim=1),
            chunks,
            frame_lengths,
            chunk_frames=self.chunk_samples // self.frame_samples,
        )
        return EncoderOutput(hidden_states, frame_lengths)

    def _count(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        convolved = num_frames(lengths, 2 * HOP_SAMPLES)
        return torch.div(convolved, 2, rounding_mode="floor") if self.pooled else convolved

    def _embed(self, chunks: Chunks) -> Float[Tensor, "chunks frames dim"]:
        missing = self.chunk_samples - chunks.waveform.shape[1]
        padded = functional.pad(chunks.waveform, (0, missing))
        features = self.features(padded, torch.full_like(chunks.lengths, self.chunk_samples))
        if self.masked:
            frames = int(num_frames(chunks.lengths, 2 * HOP_SAMPLES).max()) + _CONVOLVED_MARGIN
            features = features[..., : 2 * frames]
        tower = self.tower
        hidden = functional.gelu(tower.conv1(features.to(tower.conv1.weight.dtype)))
        hidden = functional.gelu(tower.conv2(hidden)).transpose(1, 2)
        hidden = hidden + tower.embed_positions.weight[: hidden.shape[1]]
        return functional.dropout(hidden, p=tower.dropout, training=tower.training)

    def _mask(self, chunks: Chunks, hidden: Tensor) -> Tensor | None:
        valid = lengths_to_mask(num_frames(chunks.lengths, 2 * HOP_SAMPLES), hidden.shape[1])
        return attention_mask(valid, hidden.dtype, flash=self.flash)


def _average_pairs(state: Float[Tensor, "chunks frames dim"]) -> Float[Tensor, "chunks half dim"]:
    return functional.avg_pool1d(state.transpose(1, 2), 2).transpose(1, 2)


# On disk: Whisper itself, a whole Whisper-like model, and the tower of a language model.
_WHISPER = TowerFamily(
    "transformers.models.whisper.modeling_whisper.WhisperEncoder",
    "WhisperConfig",
    prefixes=("model.encoder.", "encoder."),
)
_KINDS = {
    "whisper": _Kind(_WHISPER, pooled=False, masked=False),
    "kimi_audio": _Kind(_WHISPER, pooled=False, masked=False),
    "qwen2_audio": _Kind(
        TowerFamily(
            "Qwen2AudioEncoder",
            "Qwen2AudioEncoderConfig",
            nested=(("audio_config",),),
            prefixes=("audio_tower.", "model.audio_tower."),
        ),
        pooled=True,
        masked=False,
    ),
    "audio_flamingo3": _Kind(
        TowerFamily(
            "AudioFlamingo3Encoder",
            "AudioFlamingo3EncoderConfig",
            nested=(("audio_config",),),
            prefixes=("audio_tower.", "model.audio_tower."),
        ),
        pooled=True,
        masked=True,
    ),
}


def _build(config: WhisperConfig, *, kind: str) -> WhisperEncoder:
    described = _KINDS[kind]
    tower = build_tower(described.tower, config)
    encoder = WhisperEncoder(tower, pooled=described.pooled, masked=described.masked, config=config)
    encoder.stored_options = options_to_store(tower)
    return encoder


BUILD_WHISPER: dict[str, Callable[[WhisperConfig], WhisperEncoder]] = {
    name: partial(_build, kind=name) for name in _KINDS
}
"""How to make the encoder of each relative."""
