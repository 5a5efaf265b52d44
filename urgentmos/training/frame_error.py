"""The squared error of what is predicted for every frame."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mean_frame_error(
    predicted: Float[Tensor, "batch frames dim"],
    targets: Float[Tensor, "batch frames dim"],
    mask: Bool[Tensor, "batch frames"],
) -> Float[Tensor, ""]:
    """Average the squared error over real frames and all values, in 32 bits; 0 without any frame.

    Args:
        predicted: In any precision.
        targets: What should have been predicted.
        mask: True on the frames that count.
    """
    squared = (predicted.float() - targets).square().mean(dim=-1)
    return torch.where(mask, squared, 0.0).sum() / mask.sum().clamp_min(1)
