"""Lengths to masks and back, and the mean over real frames."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def lengths_to_mask(
    lengths: Int[Tensor, " batch"], num_frames: int
) -> Bool[Tensor, "batch frames"]:
    """Mark real frames.

    Args:
        lengths: Number of real frames of each recording.
        num_frames: Padded length.

    Returns:
        True on real frames, False on padding.
    """
    return torch.arange(num_frames, device=lengths.device)[None, :] < lengths[:, None]


def divide_up(lengths: Int[Tensor, "*batch"], divisor: int) -> Int[Tensor, "*batch"]:
    """Divide lengths and round up: how many steps of ``divisor`` it takes to cover each."""
    return torch.div(lengths + divisor - 1, divisor, rounding_mode="floor")


def check_lengths(lengths: Int[Tensor, " batch"], num_samples: int) -> None:
    """Check that recordings are neither empty nor longer than what they are padded to.

    Args:
        lengths: Samples of each recording.
        num_samples: Padded length.

    Raises:
        ValueError: One is.
    """
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < 1 or longest > num_samples:
        raise ValueError(
            f"expected lengths between 1 and {num_samples} samples, got {shortest} to {longest}"
        )


def masked_mean(
    features: Float[Tensor, "batch frames dim"], mask: Bool[Tensor, "batch frames"]
) -> Float[Tensor, "batch dim"]:
    """Average over the real frames of each recording, in at least 32 bits; padding never counts.

    Raises:
        ValueError: A recording has no real frame.
    """
    num_real = mask.sum(dim=1)
    if bool((num_real == 0).any()):
        raise ValueError("a recording has no real frame to average over")
    dtype = torch.promote_types(features.dtype, torch.float32)
    total = features.masked_fill(~mask[..., None], 0.0).sum(dim=1, dtype=dtype)
    return total / num_real[:, None].to(dtype)
