"""What the heads of an encoder's own share: convolutions before what they find, scores after it."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, inf, nn

from urgentmos.config import check_at_least
from urgentmos.masks import lengths_to_mask, masked_mean
from urgentmos.metrics import get_metric, resolve_metrics
from urgentmos.model.encoders.masked_convolution import (
    FrequencyMap,
    check_convolutions,
    masked_convolutions,
)
from urgentmos.model.heads import MetricHead

_DROPOUT = 0.3


@dataclass
class OwnHeadConfig:
    """Options of every such head.

    Attributes:
        metrics: Metrics that it predicts.
        after: It hears what so many of the encoder's convolutions give.
        channels: Output channels of each of its own.
        time_strides: Stride in time of each.
        frequency_strides: Stride in frequency of each.
        dim: Size of the layer between what it finds in frames and the scores.
    """

    metrics: list[str]
    after: int = 2
    channels: list[int] = field(default_factory=lambda: [64, 64])
    time_strides: list[int] = field(default_factory=lambda: [2, 1])
    frequency_strides: list[int] = field(default_factory=lambda: [2, 1])
    dim: int = 32

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.metrics:
            raise ValueError("metrics: the head predicts at least one metric")
        self.metrics = resolve_metrics(self.metrics)
        check_convolutions(
            channels=self.channels,
            time_strides=self.time_strides,
            frequency_strides=self.frequency_strides,
        )
        check_at_least(self, dim=1)


class OwnHead(nn.Module):
    """Scores of recordings from the largest and the mean of what it finds in their frames.

    Attributes:
        after: It hears what so many of the encoder's convolutions give.
        frame_dim: Numbers that it finds in each frame.
    """

    def __init__(self, in_channels: int, config: OwnHeadConfig, *, frame_dim: int) -> None:
        """Make what all heads have.

        Args:
            in_channels: Channels of the map that it hears.
            config: Its options.
            frame_dim: Numbers that it finds in each frame.
        """
        super().__init__()
        self.after = config.after
        self.frame_dim = frame_dim
        self.hidden = nn.Linear(2 * frame_dim, config.dim)
        self.dropout = nn.Dropout(_DROPOUT)
        self.heads = nn.ModuleDict()
        for name in config.metrics:
            metric = get_metric(name)
            self.heads[name] = MetricHead(config.dim, low=metric.low, high=metric.high)
        self.convolutions = masked_convolutions(
            in_channels,
            channels=config.channels,
            time_strides=config.time_strides,
            frequency_strides=config.frequency_strides,
        )

    def forward(self, heard: FrequencyMap) -> dict[str, Float[Tensor, " batch"]]:
        """Score each recording, in the unit of each metric."""
        return self.judge(*self.frames(heard))

    def frames(
        self, heard: FrequencyMap
    ) -> tuple[Float[Tensor, "batch frames frame_dim"], Int[Tensor, " batch"]]:
        """Give what is found in each frame, and the valid frames of each recording."""
        for convolution in self.convolutions:
            heard = convolution(heard)
        return self.find(heard), heard.lengths

    def find(self, convolved: FrequencyMap) -> Float[Tensor, "batch frames frame_dim"]:
        """Find in each frame of what the convolutions gave what recordings are judged by."""
        raise NotImplementedError

    def judge(
        self, frames: Float[Tensor, "batch frames frame_dim"], lengths: Int[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Score each recording by what `frames` gave of it."""
        mask = lengths_to_mask(lengths, frames.shape[1])
        largest = frames.masked_fill(~mask[..., None], -inf).amax(dim=1)
        pooled = torch.cat((largest, masked_mean(frames, mask)), dim=1)
        hidden = self.dropout(self.hidden(pooled).relu())
        return {name: head(hidden) for name, head in self.heads.items()}
