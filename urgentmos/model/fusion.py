"""Several encoders to one sequence: layer mix, alignment in time, projection."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from urgentmos.model.encoders.encoder import EncoderOutput


class LayerMix(nn.Module):
    """Softmax-weighted sum of an encoder's hidden states; equal weights to begin with."""

    def __init__(self, num_layers: int) -> None:
        """Make one weight per hidden state."""
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_layers))

    def forward(
        self, hidden_states: Float[Tensor, "batch layers frames dim"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Mix over layers, never over time."""
        return torch.einsum("l,blfd->bfd", self.weights.softmax(dim=0), hidden_states)


class Fusion(nn.Module):
    """Joint features of all encoders at the frame rate of the longest."""

    def __init__(self, *, layers: Sequence[int], dims: Sequence[int], dim: int) -> None:
        """Make the parts.

        Args:
            layers: Hidden states of each encoder.
            dims: Size of each encoder's hidden states.
            dim: Size of the joint features.
        """
        super().__init__()
        self.mixes = nn.ModuleList(LayerMix(num_layers) for num_layers in layers)
        self.projection = nn.Linear(sum(dims), dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, outputs: Sequence[EncoderOutput]
    ) -> tuple[Float[Tensor, "batch frames dim"], Int[Tensor, " batch"]]:
        """Fuse what the encoders gave for one batch.

        Returns:
            Joint features and the valid frames of each recording: those of the encoder that gave
            the most for that recording.
        """
        lengths = torch.stack([output.lengths for output in outputs]).amax(dim=0)
        num_frames = int(lengths.max())
        aligned = [
            align(mix(output.hidden_states), output.lengths, lengths, num_frames=num_frames)
            for mix, output in zip(self.mixes, outputs, strict=True)
        ]
        return self.norm(self.projection(torch.cat(aligned, dim=-1))), lengths


def align(
    features: Float[Tensor, "batch frames dim"],
    lengths: Int[Tensor, " batch"],
    target_lengths: Int[Tensor, " batch"],
    *,
    num_frames: int,
) -> Float[Tensor, "batch target_frames dim"]:
    """Stretch each recording's valid frames linearly to its target length.

    Equal, on a lone recording, to ``interpolate(mode="linear", align_corners=False)``: frames are
    cells of equal duration, and a frame's value stands at the middle of its cell.

    Args:
        features: Features of one encoder.
        lengths: Valid frames of each recording.
        target_lengths: Frames wanted of each.
        num_frames: Length of the result; what lies beyond a recording's target repeats its last
            valid frame.
    """
    if torch.equal(lengths, target_lengths):
        return features[:, :num_frames]
    # In at least 32 bits: from frame 256 on, bfloat16 knows no place between two even frames.
    dtype = torch.promote_types(features.dtype, torch.float32)
    scale = lengths.to(dtype) / target_lengths
    steps = torch.arange(num_frames, device=features.device, dtype=dtype)
    position = ((steps + 0.5) * scale[:, None] - 0.5).clamp_min(0.0)
    last = (lengths - 1)[:, None]
    left = torch.minimum(position.floor().long(), last)
    right = torch.minimum(left + 1, last)
    weight = (position - left).clamp(0.0, 1.0)[..., None].to(features.dtype)
    rows = torch.arange(len(features), device=features.device)[:, None]
    return torch.lerp(features[rows, left], features[rows, right], weight)
