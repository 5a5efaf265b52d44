"""Learning another encoder's hidden states: many numbers per frame where a label is one per file.

Distillation, after FitNets (Romero et al. 2015, https://arxiv.org/abs/1412.6550): linear maps from
the network's frames to the teacher's, and their squared error. The maps are thrown away after
training. Distillation of a student: the hidden states of one of the network's encoders become the
teacher's own, so that it is a smaller copy (TinyBERT, Jiao et al. 2020,
https://arxiv.org/abs/1909.10351, Eq. 8).
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from urgentmos.config import ConfigError
from urgentmos.data.features import FeatureStore, StoredStates
from urgentmos.masks import lengths_to_mask
from urgentmos.model.encoders import Encoder, EncoderOutput
from urgentmos.model.fusion import align
from urgentmos.model.network import NetworkOutput
from urgentmos.training.frame_error import mean_frame_error

# Of a feature that never changes.
_SMALLEST_STD = 1e-4


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
        self.register_buffer("std", std.clamp_min(_SMALLEST_STD), persistent=False)

    def forward(self, output: NetworkOutput, teacher: StoredStates) -> Float[Tensor, ""]:
        """Measure what is not predicted, as a share of the features' variance.

        ``mean over frames and features of ((prediction - state) / std)^2``, with the state
        standardised, averaged over the two predictions.

        Args:
            output: Of the network.
            teacher: Hidden states of the same recordings, stretched to the network's frames.
        """
        standardised = (teacher.hidden_states.transpose(1, 2) - self.mean) / self.std
        lengths = output.mask.sum(dim=1)
        states = _stretch(standardised, teacher.lengths, lengths, output.mask.shape[1])
        loss = mean_frame_error(self.from_features(output.features), states, output.mask)
        if self.from_group is None or output.frames is None:
            return loss
        last = states[..., -self.mean.shape[1] :]
        return (loss + mean_frame_error(self.from_group(output.frames), last, output.mask)) / 2


class StudentDistillation(nn.Module):
    """Make an encoder's hidden states those of the teacher, one by one.

    Args:
        std: Standard deviation of each of the teacher's features.
    """

    std: Tensor

    def __init__(self, *, std: Float[Tensor, "layers teacher_dim"]) -> None:
        super().__init__()
        self.register_buffer("std", std.clamp_min(_SMALLEST_STD), persistent=False)

    def forward(self, student: EncoderOutput, teacher: StoredStates) -> Float[Tensor, ""]:
        """Measure how far they are, as a share of the features' variance.

        ``mean over frames, layers and features of ((student - teacher) / std)^2``

        Args:
            student: What the encoder gave.
            teacher: Hidden states of the same recordings, stretched to the student's frames.
        """
        frames = student.hidden_states.shape[2]
        scaled = teacher.hidden_states.transpose(1, 2) / self.std
        states = _stretch(scaled, teacher.lengths, student.lengths, frames)
        given = (student.hidden_states.float().transpose(1, 2) / self.std).flatten(2)
        return mean_frame_error(given, states, lengths_to_mask(student.lengths, frames))


def build_student_distillation(store: FeatureStore, student: Encoder) -> StudentDistillation:
    """Make it for the teacher whose states a store holds.

    Raises:
        ConfigError: The student's hidden states are not as many, or not as wide.
    """
    _, std = store.moments()
    layers, dim = std.shape
    if (student.num_layers, student.dim) != (layers, dim):
        raise ConfigError(
            f"teacher.layers: {layers} hidden states of size {dim} cannot be those of the student, "
            f"which gives {student.num_layers} of size {student.dim}"
        )
    return StudentDistillation(std=std)


def build_distillation(store: FeatureStore, *, dim: int, from_group: bool) -> Distillation:
    """Make it for the teacher whose states a store holds."""
    mean, std = store.moments()
    return Distillation(dim, mean=mean, std=std, from_group=from_group)


def _stretch(
    states: Float[Tensor, "batch teacher_frames layers teacher_dim"],
    lengths: Int[Tensor, " batch"],
    target_lengths: Int[Tensor, " batch"],
    num_frames: int,
) -> Float[Tensor, "batch frames all_dims"]:
    return align(states.flatten(2), lengths, target_lengths, num_frames=num_frames)
