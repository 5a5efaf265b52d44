"""A head on a map over time and frequency that judges frame by frame.

What compares a recording with its clean reference adds up what differs in each frame: log-spectral
distance and mel-cepstral distortion are means over frames, and SDR is a ratio of sums. A head that
sees frames can be taught what each of them is worth (``recipes/default/fit_frame_head.py``), which
says sixty times as much of a recording as its label does.
"""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from urgentmos.config import check_at_least, check_odd
from urgentmos.model.encoders.masked_convolution import (
    BlockStack,
    FrequencyMap,
    as_vectors,
    remaining_bins,
)
from urgentmos.model.encoders.own_head import OwnHead, OwnHeadConfig


@dataclass
class FrameHeadConfig(OwnHeadConfig):
    """Options of the head, beside those of every such head.

    Attributes:
        frame_dim: Size of what it makes of each frame.
        blocks: Residual blocks in which a frame meets its neighbours.
        kernel: Frames that meet in a block, an odd number.
    """

    channels: list[int] = field(default_factory=lambda: [48, 48])
    frequency_strides: list[int] = field(default_factory=lambda: [2, 2])
    dim: int = 64
    frame_dim: int = 96
    blocks: int = 2
    kernel: int = 5

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        check_at_least(self, frame_dim=1, blocks=0, kernel=1)
        check_odd(self, "kernel")


class FrameHead(OwnHead):
    """Scores of recordings from frames that know their neighbours."""

    def __init__(self, in_channels: int, in_bins: int, config: FrameHeadConfig) -> None:
        """Make the head, for a map of so many channels and frequency bins."""
        super().__init__(in_channels, config, frame_dim=config.frame_dim)
        bins = remaining_bins(in_bins, config.frequency_strides)
        self.projection = nn.Linear(config.channels[-1] * bins, config.frame_dim)
        self.norm = nn.LayerNorm(config.frame_dim)
        self.blocks = BlockStack(
            config.frame_dim, num_blocks=config.blocks, kernel=config.kernel, expansion=1
        )

    def find(self, convolved: FrequencyMap) -> Float[Tensor, "batch frames frame_dim"]:
        """Give what is made of each frame."""
        vectors = self.norm(self.projection(as_vectors(convolved.features)))
        states: Tensor = self.blocks(vectors, convolved.lengths)
        return states[:, -1]
