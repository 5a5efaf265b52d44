"""Convolutions over padded batches in which a recording never sees its padding or its neighbours.

Every layer here keeps one rule: what comes in is zero beyond each recording's frames, and so is
what goes out. The zeros a convolution adds at the end of a lone recording then equal the padding
it meets in a batch.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from urgentmos.masks import divide_up, lengths_to_mask

_NEGATIVE_SLOPE = 0.1


class FrequencyMap(NamedTuple):
    """What a convolution over frames and frequency hears or gives.

    Attributes:
        features: Zero in the padding.
        lengths: Valid frames of each recording.
        shortest: The least of them. It is kept because asking a GPU for it takes its time.
    """

    features: Float[Tensor, "batch channels frames bins"]
    lengths: Int[Tensor, " batch"]
    shortest: int


class MaskedConv2d(nn.Module):
    """Strided convolution over frames and frequency, then a leaky rectifier.

    Kernels are the odd numbers just wider than the stride, and at least 3, so that neighbouring
    outputs share inputs.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, time_stride: int, frequency_stride: int
    ) -> None:
        """Make the layer."""
        super().__init__()
        self.time_stride = time_stride
        padding = (_half_kernel(time_stride), _half_kernel(frequency_stride))
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (2 * padding[0] + 1, 2 * padding[1] + 1),
            stride=(time_stride, frequency_stride),
            padding=padding,
        )
        # Channels last: 1.5 times as fast here on a CPU, and what follows is then a free view.
        self.conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        nn.init.kaiming_normal_(self.conv.weight, a=_NEGATIVE_SLOPE)

    def forward(self, heard: FrequencyMap) -> FrequencyMap:
        """Convolve; a recording of n frames has ``ceil(n / stride)`` afterwards."""
        convolved: Tensor = self.conv(heard.features)
        lengths = divide_up(heard.lengths, self.time_stride)
        shortest = -(-heard.shortest // self.time_stride)
        # In place: these two passes over the largest tensors of the model are memory-bound. The
        # gradient of neither needs the value that was overwritten.
        _zero_padding(convolved, lengths, shortest)
        rectified = functional.leaky_relu(convolved, _NEGATIVE_SLOPE, inplace=True)
        return FrequencyMap(rectified, lengths, shortest)


def _zero_padding(
    features: Float[Tensor, "batch channels frames bins"],
    lengths: Int[Tensor, " batch"],
    shortest: int,
) -> None:
    """Overwrite, in place, what lies beyond each recording with zeros.

    Nothing before ``shortest`` is touched: batches are of like lengths, so that little is.
    """
    if shortest < features.shape[2]:
        mask = lengths_to_mask(lengths, features.shape[2])[:, None, shortest:, None]
        features[:, :, shortest:].mul_(mask)


def _half_kernel(stride: int) -> int:
    return max(1, (stride + 1) // 2)


def check_convolutions(
    *, channels: Sequence[int], time_strides: Sequence[int], frequency_strides: Sequence[int]
) -> None:
    """Check what convolutions one after the other are made of.

    Raises:
        ValueError: The lists differ in length, or hold what is below 1.
    """
    if not len(channels) == len(time_strides) == len(frequency_strides) > 0:
        raise ValueError(
            "expected channels, time_strides and frequency_strides of one length, "
            f"got {len(channels)}, {len(time_strides)} and {len(frequency_strides)}"
        )
    stated = {
        "channels": channels,
        "time_strides": time_strides,
        "frequency_strides": frequency_strides,
    }
    for name, numbers in stated.items():
        if min(numbers) < 1:
            raise ValueError(f"{name}: expected at least 1, got {min(numbers)}")


def masked_convolutions(
    in_channels: int,
    *,
    channels: Sequence[int],
    time_strides: Sequence[int],
    frequency_strides: Sequence[int],
) -> nn.ModuleList:
    """Make convolutions one after the other.

    Raises:
        ValueError: The lists differ in length, or hold what is below 1.
    """
    check_convolutions(
        channels=channels, time_strides=time_strides, frequency_strides=frequency_strides
    )
    layers = nn.ModuleList()
    for out_channels, time_stride, frequency_stride in zip(
        channels, time_strides, frequency_strides, strict=True
    ):
        layers.append(
            MaskedConv2d(
                in_channels,
                out_channels,
                time_stride=time_stride,
                frequency_stride=frequency_stride,
            )
        )
        in_channels = out_channels
    return layers


def remaining_bins(bins: int, frequency_strides: Sequence[int]) -> int:
    """Count the frequency bins that convolutions one after the other leave."""
    for stride in frequency_strides:
        bins = -(-bins // stride)
    return bins


class MaskedConv2dStack(nn.Module):
    """Strided 2-D convolutions, then all channels and bins of a remaining frame in one vector.

    Attributes:
        time_stride: Stride in time over all layers.
        out_features: Size of the vectors.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        in_bins: int,
        channels: Sequence[int],
        time_strides: Sequence[int],
        frequency_strides: Sequence[int],
    ) -> None:
        """Make the layers.

        Args:
            in_channels: Channels of the time-frequency input.
            in_bins: Its frequency bins.
            channels: Output channels of each convolution.
            time_strides: Stride in time of each.
            frequency_strides: Stride in frequency of each.

        Raises:
            ValueError: The lists differ in length, or hold what is below 1.
        """
        super().__init__()
        self.layers = masked_convolutions(
            in_channels,
            channels=channels,
            time_strides=time_strides,
            frequency_strides=frequency_strides,
        )
        self.time_stride = math.prod(time_strides)
        self.out_features = channels[-1] * remaining_bins(in_bins, frequency_strides)

    def forward(
        self, features: Float[Tensor, "batch channels frames bins"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch out_frames dim"], Int[Tensor, " batch"]]:
        """Give one vector per remaining frame, and how many are valid.

        Args:
            features: Zero or anything in the padding, which is overwritten with zeros.
            lengths: Valid frames of each recording.
        """
        for given in self.maps(features, lengths):
            last = given
        return as_vectors(last.features), last.lengths

    def maps(
        self, features: Float[Tensor, "batch channels frames bins"], lengths: Int[Tensor, " batch"]
    ) -> Iterator[FrequencyMap]:
        """Give what each layer gives.

        Args:
            features: Zero or anything in the padding, which is overwritten with zeros.
            lengths: Valid frames of each recording.
        """
        given = FrequencyMap(features, lengths, int(lengths.min()))
        _zero_padding(*given)
        for layer in self.layers:
            given = layer(given)
            yield given


def as_vectors(
    features: Float[Tensor, "batch channels frames bins"],
) -> Float[Tensor, "batch frames dim"]:
    """Give all channels and bins of a frame as one vector, in the order (bins, channels)."""
    return features.permute(0, 2, 3, 1).flatten(2)


class ConvolutionStem(MaskedConv2dStack):
    """The same, projected to one size and normalised."""

    def __init__(self, *, dim: int, **stack: Any) -> None:
        """Make the stack; ``dim`` is the size of the vectors given."""
        super().__init__(**stack)
        self.projection = nn.Linear(self.out_features, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, features: Float[Tensor, "batch channels frames bins"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch out_frames dim"], Int[Tensor, " batch"]]:
        """Give one normalised vector per remaining frame, and how many are valid."""
        vectors, lengths = super().forward(features, lengths)
        return self.norm(self.projection(vectors)), lengths


class ResidualBlock(nn.Module):
    """Depthwise convolution over frames, then a two-layer network per frame, around a residual."""

    def __init__(self, dim: int, *, kernel: int, expansion: int) -> None:
        """Make the block; the kernel is odd, the inner size ``dim * expansion``."""
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, dim * expansion)
        self.contract = nn.Linear(dim * expansion, dim)

    def forward(
        self,
        features: Float[Tensor, "batch frames dim"],
        keep: Float[Tensor, "batch frames 1"],
    ) -> Float[Tensor, "batch frames dim"]:
        """Refine each frame with its neighbours.

        Args:
            features: Zero or anything in the padding.
            keep: 1 on valid frames, 0 on padding.
        """
        masked = (features * keep).transpose(1, 2)
        mixed = self.norm(self.depthwise(masked).transpose(1, 2))
        refined: Tensor = features + self.contract(functional.gelu(self.expand(mixed)))
        return refined


class BlockStack(nn.Module):
    """Residual blocks that give every intermediate state."""

    def __init__(self, dim: int, *, num_blocks: int, kernel: int, expansion: int) -> None:
        """Make the blocks."""
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(dim, kernel=kernel, expansion=expansion) for _ in range(num_blocks)
        )

    def forward(
        self, features: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers frames dim"]:
        """Give the input and the output of every block."""
        keep = lengths_to_mask(lengths, features.shape[1])[..., None].to(features.dtype)
        states = [features]
        for block in self.blocks:
            states.append(block(states[-1], keep))
        return torch.stack(states, dim=1)
