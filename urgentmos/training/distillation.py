"""Learning another encoder's hidden states: many numbers per frame where a label is one per file.

After FitNets (Romero et al. 2015, https://arxiv.org/abs/1412.6550): linear maps from the student's
frames to the teacher's, and their squared error. The maps are thrown away after training.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from urgentmos.data.features import FeatureStore, StoredStates
from urgentmos.model.fusion import align
from urgentmos.model.network import NetworkOutput


class Distillation(nn.Module):
    """Predict a teacher's hidden states.

    The joint features predict all chosen layers; the frames of the preference group, where the
    network has one, predict the last of them.

    Args:
        dim: Size of the network's frames.
        mean: Mean of each of the teacher's features.
        std: Their standard deviation.
        from_group: Whether the network has a preference group.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        dim: int,
        *,
        mean: Float[Tensor, "layers teacher_dim"],
        std: Float[Tensor, "layers teacher_dim"],
        from_group: bool,
    ) -> None:
        super().__init__()
        layers, teacher_dim = mean.shape
        self.from_features = nn.Linear(dim, layers * teacher_dim)
        self.from_group = nn.Linear(dim, teacher_dim) if from_group else None
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std.clamp_min(1e-4), persistent=False)

    def forward(self, output: NetworkOutput, teacher: StoredStates) -> Float[Tensor, ""]:
        """Measure what is not predicted, as a share of the features' variance.

        ``mean over frames and features of ((prediction - state) / std)^2``, with the state
        standardised, averaged over the two predictions.

        Args:
            output: Of the network.
            teacher: Hidden states of the same recordings, stretched to the network's frames.
        """
        standardised = (teacher.hidden_states.transpose(1, 2) - self.mean) / self.std
        frames = output.mask.shape[1]
        states = align(
            standardised.flatten(2), teacher.lengths, output.mask.sum(dim=1), num_frames=frames
        )
        loss = _mean_error(self.from_features(output.features), states, output.mask)
        if self.from_group is None or output.frames is None:
            return loss
        last = states[..., -self.mean.shape[1] :]
        return (loss + _mean_error(self.from_group(output.frames), last, output.mask)) / 2


def build_distillation(store: FeatureStore, *, dim: int, from_group: bool) -> Distillation:
    """Make it for the teacher whose states a store holds."""
    mean, std = store.moments()
    return Distillation(dim, mean=mean, std=std, from_group=from_group)


def _mean_error(
    predicted: Float[Tensor, "batch frames dim"],
    states: Float[Tensor, "batch frames dim"],
    mask: Bool[Tensor, "batch frames"],
) -> Float[Tensor, ""]:
    squared = (predicted.float() - states).square().mean(dim=-1)
    return torch.where(mask, squared, 0.0).sum() / mask.sum().clamp_min(1)
