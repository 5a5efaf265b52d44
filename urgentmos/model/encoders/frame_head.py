"""A head on a map over time and frequency that judges frame by frame.

What compares a recording with its clean reference adds up what differs in each frame: log-spectral
distance and mel-cepstral distortion are means over frames, and SDR is a ratio of sums. A head that
sees frames can be taught what each of them is worth (``recipes/default/fit_frame_head.py``), which
says sixty times as much of a recording as its label does.
"""

from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor, nn

from urgentmos.metrics import resolve_metrics
from urgentmos.model.encoders.masked_convolution import (
    BlockStack,
    FrequencyMap,
    as_vectors,
    check_convolutions,
    masked_convolutions,
    remaining_bins,
)
from urgentmos.model.encoders.own_head import OwnHead


@dataclass
class FrameHeadConfig:
    """Options of the head.

    Attributes:
        metrics: Metrics that it predicts.
        after: It hears what so many of the encoder's convolutions give.
        channels: Output channels of each of its own.
        time_strides: Stride in time of each.
        frequency_strides: Stride in frequency of each.
        frame_dim: Size of what it makes of each frame.
        blocks: Residual blocks in which a frame meets its neighbours.
        kernel: Frames that meet in a block, an odd number.
        dim: Size of the layer between the frames and the scores.
    """

    metrics: list[str]
    after: int = 2
    channels: list[int] = field(default_factory=lambda: [48, 48])
    time_strides: list[int] = field(default_factory=lambda: [2, 1])
    frequency_strides: list[int] = field(default_factory=lambda: [2, 2])
    frame_dim: int = 96
    blocks: int = 2
    kernel: int = 5
    dim: int = 64

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
        for name, least in {"frame_dim": 1, "blocks": 0, "kernel": 1, "dim": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd number, got {self.kernel}")


class FrameHead(OwnHead):
    """Scores of recordings from frames that know their neighbours.

    Attributes:
        after: It hears what so many of the encoder's convolutions give.
    """

    def __init__(self, in_channels: int, in_bins: int, config: FrameHeadConfig) -> None:
        """Make the head, for a map of so many channels and frequency bins."""
        super().__init__(config.frame_dim, metrics=config.metrics, dim=config.dim)
        self.after = config.after
        self.convolutions = masked_convolutions(
            in_channels,
            channels=config.channels,
            time_strides=config.time_strides,
            frequency_strides=config.frequency_strides,
        )
        bins = remaining_bins(in_bins, config.frequency_strides)
        self.projection = nn.Linear(config.channels[-1] * bins, config.frame_dim)
        self.norm = nn.LayerNorm(config.frame_dim)
        self.blocks = BlockStack(
            config.frame_dim, num_blocks=config.blocks, kernel=config.kernel, expansion=1
        )

    def frames(
        self, heard: FrequencyMap
    ) -> tuple[Float[Tensor, "batch frames frame_dim"], Int[Tensor, " batch"]]:
        """Give what is made of each frame, and the valid frames of each recording."""
        for convolution in self.convolutions:
            heard = convolution(heard)
        vectors = self.norm(self.projection(as_vectors(heard.features)))
        return self.blocks(vectors, heard.lengths)[:, -1], heard.lengths
