"""The audio tower of Qwen3-Omni and its Captioner: any length, 13 frames a second.

Log-mel features are cut into chunks of 1 s that go through three strided convolutions each; what
comes out attends within windows of 8 s. The walk through the tower's parts is ours, because the
library pads every chunk of a batch to the longest, and its convolutions see that padding: the last
frames of a recording shorter than 1 s would depend on its batch-mates.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from urgentmos.masks import divide_up, lengths_to_mask
from urgentmos.model.config import LONGEST_SHORTEST_S
from urgentmos.model.encoders.audio_tower import (
    TowerConfig,
    TowerFamily,
    build_tower,
    options_to_store,
)
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.encoders.pretrained import PretrainedEncoder
from urgentmos.model.encoders.whisper_features import (
    HOP_SAMPLES,
    MIN_REFLECTED_SAMPLES,
    WhisperFeatures,
)
from urgentmos.rates import SAMPLE_RATE

_TOWER = TowerFamily(
    "transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe.Qwen3OmniMoeAudioEncoder",
    "transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe.Qwen3OmniMoeAudioEncoderConfig",
    nested=(("thinker_config", "audio_config"), ("audio_config",)),
    prefixes=("thinker.audio_tower.", "audio_tower."),
)


@dataclass
class Qwen3OmniConfig(TowerConfig):
    """Options of Qwen3-Omni's audio tower."""


class Qwen3OmniEncoder(PretrainedEncoder):
    """Hidden states of the tower: the convolutions' output with its positions, then each layer's.

    The last has the tower's final norm. The projection to the language model's width is left out,
    as its output could not be mixed with the other states.
    """

    min_samples = MIN_REFLECTED_SAMPLES

    def __init__(self, tower: Any, *, config: Qwen3OmniConfig) -> None:
        """Wrap a tower.

        Raises:
            ValueError: Its chunks are empty, too long, or longer than its windows or positions.
        """
        _check_windows(tower.config)
        super().__init__(tower, list(tower.layers), config=config)
        self.features = WhisperFeatures(tower.config.num_mel_bins)
        self.dim = tower.config.d_model
        self.num_layers = len(tower.layers) + 1
        self.chunk_features = 2 * tower.n_window
        self.chunk_frames = _count_convolved(self.chunk_features)
        self.window_frames = self.chunk_frames * (tower.n_window_infer // self.chunk_features)
        self.frame_rate = SAMPLE_RATE / HOP_SAMPLES * self.chunk_frames / self.chunk_features

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings; 13 frames for each full second, one per 80 ms of the rest."""
        waveform = waveform[:, : int(lengths.max())]
        features = self.features(waveform, lengths)
        feature_lengths = torch.div(lengths, HOP_SAMPLES, rounding_mode="floor")
        embedded = self.recompute(self._convolve, features, feature_lengths)
        frame_lengths = self._count(feature_lengths)
        embedded = embedded[:, : int(frame_lengths.max())]
        # The layers take one long sequence and the bounds of the windows inside it.
        mask = lengths_to_mask(frame_lengths, embedded.shape[1])
        bounds = self._window_bounds(frame_lengths)
        longest = int((bounds[1:] - bounds[:-1]).max())
        layers = [
            partial(_call, layer, bounds=bounds, longest=longest) for layer in self.tower.layers
        ]
        packed = self.run_layers(layers, embedded[mask])
        packed[-1] = self.tower.ln_post(packed[-1])
        states = [
            each.new_zeros(embedded.shape).masked_scatter(mask[..., None], each) for each in packed
        ]
        return EncoderOutput(torch.stack(states, dim=1), frame_lengths)

    def _count(self, feature_lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        full = torch.div(feature_lengths, self.chunk_features, rounding_mode="floor")
        return full * self.chunk_frames + _convolved(feature_lengths % self.chunk_features)

    def _convolve(
        self, features: Float[Tensor, "batch bands frames"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch out_frames dim"]:
        """Convolve chunk by chunk.

        Beyond a recording's end a chunk goes on as silence of the features, which is zero, as the
        library has it on a recording of more than one chunk. A recording of less than one chunk
        ends where it ends.
        """
        tower, size = self.tower, self.chunk_features
        batch, bands, frames = features.shape
        features = features.masked_fill(~lengths_to_mask(lengths, frames)[:, None], 0.0)
        chunks = -(-frames // size)
        padded = functional.pad(features, (0, chunks * size - frames))
        hidden = padded.view(batch, bands, chunks, size).permute(0, 2, 1, 3).flatten(0, 1)[:, None]
        extents = lengths.clamp_max(size).repeat_interleave(chunks)
        for convolution in (tower.conv2d1, tower.conv2d2, tower.conv2d3):
            hidden = functional.gelu(convolution(hidden.to(convolution.weight.dtype)))
            extents = divide_up(extents, 2)
            hidden = hidden * lengths_to_mask(extents, hidden.shape[3])[:, None, None]
        vectors: Tensor = tower.conv_out(hidden.permute(0, 3, 1, 2).flatten(2))
        positions = tower.positional_embedding.positional_embedding[: vectors.shape[1]]
        placed: Tensor = vectors + positions.to(vectors.dtype)
        return placed.view(batch, -1, self.dim)

    def _window_bounds(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " bounds"]:
        sizes: list[int] = []
        for frames in lengths.tolist():
            full, rest = divmod(frames, self.window_frames)
            sizes += [self.window_frames] * full + [rest] * (rest > 0)
        return torch.tensor([0, *sizes], device=lengths.device).cumsum(0).to(torch.int32)


def _check_windows(architecture: Any) -> None:
    chunk, window = 2 * architecture.n_window, architecture.n_window_infer
    # A recording is padded to whole chunks.
    longest = LONGEST_SHORTEST_S * SAMPLE_RATE // HOP_SAMPLES
    if not 2 <= chunk <= longest:
        raise ValueError(
            f"architecture.n_window: expected 1 to {longest // 2}, got {architecture.n_window}"
        )
    if window < chunk:
        raise ValueError(
            f"architecture.n_window_infer: expected at least 2 * n_window = {chunk}, got {window}"
        )
    frames, positions = _count_convolved(chunk), architecture.max_source_positions
    if positions < frames:
        raise ValueError(
            f"architecture.max_source_positions: expected at least {frames}, the frames of "
            f"2 * n_window = {chunk}, got {positions}"
        )


def _call(layer: Any, hidden: Tensor, *, bounds: Tensor, longest: int) -> Tensor:
    output: Tensor = layer(hidden, bounds, max_seqlen=longest)[0]
    return output


def _convolved(lengths: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    for _ in range(3):
        lengths = divide_up(lengths, 2)
    return lengths


def _count_convolved(frames: int) -> int:
    return int(_convolved(torch.tensor(frames)))


def build_qwen3_omni(config: Qwen3OmniConfig) -> Qwen3OmniEncoder:
    """Make the encoder from a checkpoint: the tower alone, or the whole model."""
    tower = build_tower(_TOWER, config)
    encoder = Qwen3OmniEncoder(tower, config=config)
    encoder.stored_options = options_to_store(tower)
    return encoder
