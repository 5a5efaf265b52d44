"""From a group's frames to numbers: metric heads that stay in range, and the preference head."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from urgentmos.masks import masked_mean


class RangeConstraint(nn.Module):
    """Keep a prediction inside a metric's range (UrgentMOS, Eqs. 1-3)."""

    def __init__(self, low: float | None, high: float | None) -> None:
        """Take the bounds; None where there is none."""
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, x: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Constrain: sigmoid between two bounds, softplus at one, nothing without."""
        if self.low is not None and self.high is not None:
            scaled = self.low + (self.high - self.low) * torch.sigmoid(x)
            # Where the sigmoid is 1, the sum can round to just above the bound.
            return scaled.clamp(self.low, self.high)
        if self.low is not None:
            return self.low + functional.softplus(x - self.low)
        if self.high is not None:
            return self.high - functional.softplus(self.high - x)
        return x

    def clamp(self, score: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Bring back inside the range a prediction that something was added to."""
        if self.low is None and self.high is None:
            return score
        return score.clamp(self.low, self.high)

    def extra_repr(self) -> str:
        """Show the bounds."""
        return f"{self.low}, {self.high}"


class MetricHead(nn.Module):
    """One metric: mean over real frames, linear, range constraint."""

    def __init__(self, dim: int, *, low: float | None, high: float | None) -> None:
        """Make the head for a metric with these bounds."""
        super().__init__()
        self.linear = nn.Linear(dim, 1)
        self.constraint = RangeConstraint(low, high)

    def forward(self, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Score each recording from its group's mean features, in the metric's unit."""
        score: Tensor = self.constraint(_in_full_precision(self.linear, pooled).squeeze(-1))
        return score


class PreferenceOutput(NamedTuple):
    """What the preference head says about A against B.

    Attributes:
        cmos: Comparative score; positive means A is better.
        logits: Classes in the order A better, tie, B better.
    """

    cmos: Float[Tensor, " batch"]
    logits: Float[Tensor, "batch 3"]


def _attended(a: Tensor, found: Tensor) -> Tensor:
    return found


def _difference(a: Tensor, found: Tensor) -> Tensor:
    return a - found


PREFERENCE_FEATURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "attended": _attended,
    "difference": _difference,
}


class PreferenceHead(nn.Module):
    """Cross-attention from A's frames to B's, mean over A's frames, CMOS and three classes."""

    def __init__(self, dim: int, *, heads: int, features: str = "attended") -> None:
        """Make the head; ``features`` is a key of ``PREFERENCE_FEATURES``."""
        super().__init__()
        self.cross_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.regression_head = nn.Linear(dim, 1)
        self.classification_head = nn.Linear(dim, 3)
        self.combine = PREFERENCE_FEATURES[features]

    def forward(
        self,
        frames_a: Float[Tensor, "batch frames_a dim"],
        mask_a: Bool[Tensor, "batch frames_a"],
        frames_b: Float[Tensor, "batch frames_b dim"],
        mask_b: Bool[Tensor, "batch frames_b"],
    ) -> PreferenceOutput:
        """Compare A with B from their group features; padding of either never counts."""
        found, _ = self.cross_attn(
            frames_a, frames_b, frames_b, key_padding_mask=~mask_b, need_weights=False
        )
        pooled = masked_mean(self.combine(frames_a, found), mask_a)
        return PreferenceOutput(
            cmos=_in_full_precision(self.regression_head, pooled).squeeze(-1),
            logits=_in_full_precision(self.classification_head, pooled),
        )


def _in_full_precision(
    layer: nn.Linear, pooled: Float[Tensor, "batch dim"]
) -> Float[Tensor, "batch out"]:
    """Apply a layer in at least 32 bits, under autocast too: bfloat16 has steps of .02 at 4."""
    dtype = torch.promote_types(pooled.dtype, torch.float32)
    if pooled.dtype == layer.weight.dtype == dtype and not torch.is_autocast_enabled(
        pooled.device.type
    ):
        # As nearly always: leaving autocast takes longer than the layer.
        output: Tensor = layer(pooled)
        return output
    with torch.autocast(pooled.device.type, enabled=False):
        return functional.linear(pooled.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))
