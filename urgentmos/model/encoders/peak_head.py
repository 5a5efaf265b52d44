"""A head on a map over time and frequency that judges by its peaks.

Convolutions, the largest of each channel over frequency and time, a small network: how the network
of DNSMOS P.835 ends (Reddy et al. 2022, https://arxiv.org/abs/2110.01763). What is loudest
anywhere, the mean over frames of the other heads barely shows.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.own_head import OwnHead, OwnHeadConfig


@dataclass
class PeakHeadConfig(OwnHeadConfig):
    """Options of the head."""


class PeakHead(OwnHead):
    """Scores of recordings from the largest outputs of convolutions."""

    def __init__(self, in_channels: int, config: PeakHeadConfig) -> None:
        """Make the head, for a map of so many channels."""
        super().__init__(in_channels, config, frame_dim=config.channels[-1])

    def find(self, convolved: FrequencyMap) -> Float[Tensor, "batch frames channels"]:
        """Give the largest output of each channel over frequency."""
        return convolved.features.amax(dim=3).transpose(1, 2)
