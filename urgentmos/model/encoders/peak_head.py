"""A head on a map over time and frequency that judges by its peaks.

Convolutions, the largest of each channel over frequency and time, a small network: how the network
of DNSMOS P.835 ends (Reddy et al. 2022, https://arxiv.org/abs/2110.01763). What is loudest
anywhere, the mean over frames of the other heads barely shows.
"""

from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from urgentmos.metrics import resolve_metrics
from urgentmos.model.encoders.masked_convolution import (
    FrequencyMap,
    check_convolutions,
    masked_convolutions,
)
from urgentmos.model.encoders.own_head import OwnHead


@dataclass
class PeakHeadConfig:
    """Options of the head.

    Attributes:
        metrics: Metrics that it predicts.
        after: It hears what so many of the encoder's convolutions give.
        channels: Output channels of each of its own.
        time_strides: Stride in time of each.
        frequency_strides: Stride in frequency of each.
        dim: Size of the layer between the peaks and the scores.
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
        if self.dim < 1:
            raise ValueError(f"dim: expected at least 1, got {self.dim}")


class PeakHead(OwnHead):
    """Scores of recordings from the largest outputs of convolutions.

    Attributes:
        after: It hears what so many of the encoder's convolutions give.
    """

    def __init__(self, in_channels: int, config: PeakHeadConfig) -> None:
        """Make the head, for a map of so many channels."""
        super().__init__(config.channels[-1], metrics=config.metrics, dim=config.dim)
        self.after = config.after
        self.convolutions = masked_convolutions(
            in_channels,
            channels=config.channels,
            time_strides=config.time_strides,
            frequency_strides=config.frequency_strides,
        )

    def frames(
        self, heard: FrequencyMap
    ) -> tuple[Float[Tensor, "batch frames channels"], Int[Tensor, " batch"]]:
        """Give the largest output of each channel over frequency, and the valid frames."""
        for convolution in self.convolutions:
            heard = convolution(heard)
        return heard.features.amax(dim=3).transpose(1, 2), heard.lengths
