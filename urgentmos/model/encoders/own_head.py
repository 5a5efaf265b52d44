"""What the heads of an encoder's own share: from what they find in frames to scores."""

from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from torch import Tensor, inf, nn

from urgentmos.masks import lengths_to_mask, masked_mean
from urgentmos.metrics import get_metric
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.heads import MetricHead

_DROPOUT = 0.3


class OwnHead(nn.Module):
    """Scores of recordings from the largest and the mean of what it finds in their frames.

    Attributes:
        frame_dim: Numbers that it finds in each frame.
    """

    def __init__(self, frame_dim: int, *, metrics: Collection[str], dim: int) -> None:
        """Make what comes after the frames.

        Args:
            frame_dim: Numbers that it finds in each frame.
            metrics: Metrics that it predicts.
            dim: Size of the layer between the frames and the scores.
        """
        super().__init__()
        self.frame_dim = frame_dim
        self.hidden = nn.Linear(2 * frame_dim, dim)
        self.dropout = nn.Dropout(_DROPOUT)
        self.heads = nn.ModuleDict()
        for name in metrics:
            metric = get_metric(name)
            self.heads[name] = MetricHead(dim, low=metric.low, high=metric.high)

    def forward(self, heard: FrequencyMap) -> dict[str, Float[Tensor, " batch"]]:
        """Score each recording, in the unit of each metric."""
        return self.judge(*self.frames(heard))

    def frames(
        self, heard: FrequencyMap
    ) -> tuple[Float[Tensor, "batch frames frame_dim"], Int[Tensor, " batch"]]:
        """Give what is found in each frame, and the valid frames of each recording."""
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
