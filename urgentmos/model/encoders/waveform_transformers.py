"""WavLM, HuBERT, wav2vec 2.0, XLS-R and data2vec: convolutions on the waveform, then layers.

The classes are those of transformers; the walk through their parts is ours, because theirs lets
padding into a recording's features in three places:

- group-norm front ends (the base models) take statistics over padding. Here that norm is applied to
  one recording at a time, over its own frames. The cost, only in batches whose recordings differ in
  length, is one call per recording and one copy of the first convolution's output: 2 % of a pass
  through WavLM base on a processor (masked statistics over the batch cost 13 %);
- positional convolutions of several layers (data2vec) and with batch norm (DistilHuBERT) carry
  padding into the last frames. Here padding is zeroed between them;
- a front end that normalises the waveform takes it as a whole. Here each recording is normalised
  on its own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from urgentmos.masks import lengths_to_mask
from urgentmos.model.config import LONGEST_SHORTEST_S
from urgentmos.model.encoders.audio_tower import (
    FileNotThereError,
    TowerConfig,
    TowerError,
    TowerFamily,
    build_tower,
    options_to_store,
    read_json,
)
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.encoders.pretrained import PretrainedEncoder, attention_mask
from urgentmos.rates import SAMPLE_RATE

# As Wav2Vec2FeatureExtractor has it.
_VARIANCE_FLOOR = 1e-7


@dataclass
class WaveformTransformerConfig(TowerConfig):
    """Options of a waveform Transformer.

    Attributes:
        normalise: Whether recordings are brought to zero mean and unit variance first; None does
            as the checkpoint's ``preprocessor_config.json`` says.
    """

    normalise: bool | None = None


class WaveformTransformerEncoder(PretrainedEncoder):
    """Hidden states of a waveform Transformer.

    The first has its positional embedding; the last is the library's ``last_hidden_state``. In the
    large models, which normalise before each layer, that includes the final norm: so it was in
    ``hidden_states`` of transformers 4, while 5 leaves it out there.
    """

    def __init__(
        self, tower: Any, *, normalise: bool, biased: bool, config: WaveformTransformerConfig
    ) -> None:
        """Wrap a tower.

        Args:
            tower: The model of transformers.
            normalise: Whether recordings are brought to zero mean and unit variance.
            biased: Whether its layers share a bias of relative positions, as WavLM's do.
            config: What is trained and how.

        Raises:
            ValueError: The convolutions take too much at once, or the attention has no such bias.
        """
        super().__init__(tower, list(tower.encoder.layers), config=config)
        architecture = tower.config
        self.dim = architecture.hidden_size
        self.num_layers = len(tower.encoder.layers) + 1
        self.kernels = list(architecture.conv_kernel)
        self.strides = list(architecture.conv_stride)
        self.min_samples = _receptive_field(self.kernels, self.strides)
        self.frame_rate = SAMPLE_RATE / math.prod(self.strides)
        self.normalise = normalise
        self.flash = config.attention == "flash_attention_2"
        self.norm_first = bool(getattr(architecture, "do_stable_layer_norm", False))
        self.call_layer = _call_plain
        if biased:
            if self.flash:
                raise ValueError("attention: WavLM's position bias rules flash_attention_2 out")
            self.call_layer = _call_wavlm
            for layer in tower.encoder.layers:
                layer.attention.torch_multi_head_self_attention = MethodType(
                    _attend_with_bias, layer.attention
                )

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings; the convolutions have no padding, so frames are what fits."""
        if self.normalise:
            waveform = normalise(waveform, lengths)
        features, frame_lengths = self._convolve(waveform, lengths)
        mask = lengths_to_mask(frame_lengths, features.shape[1])
        hidden = self._embed(features, mask)
        if not self.norm_first:
            hidden = self.tower.encoder.layer_norm(hidden)
        hidden = self.tower.encoder.dropout(hidden)
        states = self._run_layers(hidden, mask)
        if self.norm_first:
            states[-1] = self.tower.encoder.layer_norm(states[-1])
        return EncoderOutput(torch.stack(states, dim=1), frame_lengths)

    def _convolve(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames channels"], Int[Tensor, " batch"]]:
        hidden = waveform[:, None]
        layers = self.tower.feature_extractor.conv_layers
        for layer, kernel, stride in zip(layers, self.kernels, self.strides, strict=True):
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
            padded = bool((lengths < (hidden.shape[2] - kernel) // stride + 1).any())
            if padded and isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
                hidden = self.recompute(partial(_convolve_each, layer), hidden, lengths)
            else:
                hidden = self.recompute(layer, hidden)
        return hidden.transpose(1, 2), lengths

    def _embed(
        self, features: Float[Tensor, "batch frames channels"], mask: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames dim"]:
        projected = self.tower.feature_projection(features)
        # HuBERT gives the projection; the others give it and its input.
        hidden: Tensor = projected if isinstance(projected, Tensor) else projected[0]
        hidden = hidden * mask[..., None]
        return hidden + _positions(self.tower.encoder.pos_conv_embed, hidden, mask)

    def _run_layers(
        self, hidden: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch frames"]
    ) -> list[Float[Tensor, "batch frames dim"]]:
        bias: Tensor | None = None
        attended = attention_mask(mask, hidden.dtype, flash=self.flash)
        states = [hidden]
        for layer in self.tower.encoder.layers:
            hidden, bias = self.recompute(
                partial(self.call_layer, layer), states[-1], attended, bias
            )
            states.append(hidden)
        return states


def normalise(
    waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch samples"]:
    """Bring each recording to zero mean and unit variance over its own samples."""
    mask = lengths_to_mask(lengths, waveform.shape[1])
    mean = waveform.sum(dim=1) / lengths
    centred = (waveform - mean[:, None]) * mask
    variance = centred.square().sum(dim=1) / lengths
    return centred * (variance + _VARIANCE_FLOOR).rsqrt()[:, None]


def group_norm_each(
    hidden: Float[Tensor, "batch channels frames"],
    lengths: Int[Tensor, " batch"],
    norm: nn.GroupNorm,
) -> Float[Tensor, "batch channels frames"]:
    """Normalise each recording over its own frames.

    Args:
        hidden: Anything in the padding.
        lengths: Valid frames of each recording; what lies beyond becomes zero.
        norm: The norm.
    """
    padded = hidden.shape[2]
    return torch.cat(
        [
            functional.pad(norm(hidden[row : row + 1, :, :frames]), (0, padded - frames))
            for row, frames in enumerate(lengths.tolist())
        ]
    )


def _convolve_each(layer: Any, hidden: Tensor, lengths: Tensor) -> Tensor:
    activated: Tensor = layer.activation(
        group_norm_each(layer.conv(hidden), lengths, layer.layer_norm)
    )
    return activated


def _positions(
    embed: Any, hidden: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch frames"]
) -> Float[Tensor, "batch frames dim"]:
    keep = mask[:, None]
    hidden = hidden.transpose(1, 2)
    if hasattr(embed, "layers"):
        for layer in embed.layers:
            hidden = layer(hidden) * keep
        return hidden.transpose(1, 2)
    if getattr(embed, "batch_norm", None) is not None:
        hidden = embed.batch_norm(hidden) * keep
    activated: Tensor = embed.activation(embed.padding(embed.conv(hidden)))
    return activated.transpose(1, 2)


def _call_plain(
    layer: Any, hidden: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    output = layer(hidden, attention_mask=mask)
    return output if isinstance(output, Tensor) else output[0], bias


def _call_wavlm(
    layer: Any, hidden: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    # The first layer makes the relative position bias that all share.
    output = layer(hidden, attention_mask=mask, position_bias=bias)
    return output[0], output[1]


def _attend_with_bias(
    attention: Any, hidden: Tensor, mask: Tensor | None, position_bias: Tensor, *_: Any
) -> tuple[Tensor, None]:
    """WavLM's attention through the fused kernel.

    The library's own returns the attention weights, so it never uses one: on a processor it takes
    1.4 times as long for 20 s of audio.
    """
    batch, frames, dim = hidden.shape
    heads = attention.num_heads
    query, key, value = (
        projection(hidden).view(batch, frames, heads, dim // heads).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    bias = position_bias.view(batch, heads, frames, frames)
    if mask is not None:
        bias = bias + mask
    attended = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias.to(query.dtype),
        dropout_p=attention.dropout if attention.training else 0.0,
    )
    return attention.out_proj(attended.transpose(1, 2).reshape(batch, frames, dim)), None


def _receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    if min(strides) < 1:
        raise ValueError(f"architecture.conv_stride: expected 1 and more, got {min(strides)}")
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    if samples > LONGEST_SHORTEST_S * SAMPLE_RATE:
        raise ValueError(
            f"architecture.conv_stride: expected frames of at most {LONGEST_SHORTEST_S} s, to "
            f"which every recording would be repeated, got {samples} samples"
        )
    return samples


_FAMILIES = {
    "wavlm": TowerFamily("WavLMModel", "WavLMConfig", prefixes=("wavlm.",), attention="eager"),
    "hubert": TowerFamily("HubertModel", "HubertConfig", prefixes=("hubert.",)),
    "wav2vec2": TowerFamily("Wav2Vec2Model", "Wav2Vec2Config", prefixes=("wav2vec2.",)),
    "data2vec": TowerFamily(
        "Data2VecAudioModel",
        "Data2VecAudioConfig",
        prefixes=("data2vec_audio.",),
    ),
}


def _build(config: WaveformTransformerConfig, *, family: str) -> WaveformTransformerEncoder:
    if config.normalise is None:
        if config.checkpoint is None:
            raise ValueError("normalise: expected true or false, as no checkpoint says which")
        try:
            wanted = read_json("preprocessor_config.json", config).get("do_normalize", True)
        except FileNotThereError as error:
            # A model that is saved by itself has no such file.
            raise TowerError(
                f"{error}; it says whether recordings are normalised: state normalise, true or "
                "false, to do without"
            ) from error
        if not isinstance(wanted, bool):
            raise TowerError(
                f"{config.checkpoint}: preprocessor_config.json: expected do_normalize to be true "
                f"or false, got {wanted!r}"
            )
    else:
        wanted = config.normalise
    tower = build_tower(_FAMILIES[family], config)
    encoder = WaveformTransformerEncoder(
        tower, normalise=wanted, biased=family == "wavlm", config=config
    )
    encoder.stored_options = {**options_to_store(tower), "normalise": wanted}
    return encoder


BUILD_WAVEFORM_TRANSFORMER: dict[
    str, Callable[[WaveformTransformerConfig], WaveformTransformerEncoder]
] = {name: partial(_build, family=name) for name in _FAMILIES}
"""How to make an encoder of each of the four kinds."""
