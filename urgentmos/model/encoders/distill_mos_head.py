"""The head of Distill-MOS, on top of its trunk.

Weights and definition: package ``distillmos``, MIT (https://arxiv.org/abs/2502.05356).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, inf, nn

from urgentmos.masks import lengths_to_mask

_DIM, _HIDDEN = 200, 400
_PARTS = {
    "norm": "norm_trans",
    "hidden": "pool.linear1",
    "attention": "pool.linear2",
    "output": "pool.linear3",
}


class DistillMosHead(nn.Module):
    """Attention pooling over frames, a linear layer, 1 to 5; always frozen."""

    def __init__(self) -> None:
        """Make the parts, untrained."""
        super().__init__()
        self.norm = nn.BatchNorm1d(_DIM)
        self.hidden, self.attention = nn.Linear(_DIM, _HIDDEN), nn.Linear(_HIDDEN, 1)
        self.output = nn.Linear(_DIM, 1)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "DistillMosHead":
        """Stay in evaluation mode: the norm's statistics are the package's."""
        return super().train(False)

    def load_package(self, stored: Mapping[str, Tensor]) -> None:
        """Take the weights from those of the package."""
        for ours, theirs in _PARTS.items():
            prefix = f"transformer_pool_attn.{theirs}."
            part = getattr(self, ours)
            part.load_state_dict({name: stored[prefix + name] for name in part.state_dict()})

    def forward(
        self,
        states: Float[Tensor, "batch frames 200"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Score recordings by the trunk's last hidden states.

        Args:
            states: Of each frame.
            lengths: Frames that count; all when None, as in the package, which hears the silence
                that fills its window.
        """
        # In at least 32 bits, whatever the trunk was computed in: bfloat16 has steps of .02 at 4.
        states = states.to(torch.promote_types(states.dtype, torch.float32))
        with torch.autocast(states.device.type, enabled=False):
            normalised = self.norm(states.transpose(1, 2)).transpose(1, 2)
            weights = self.attention(self.hidden(normalised).relu()).squeeze(-1)
            if lengths is not None:
                weights = weights.masked_fill(~lengths_to_mask(lengths, states.shape[1]), -inf)
            pooled = (weights.softmax(dim=1)[..., None] * normalised).sum(dim=1)
            score: Tensor = 1 + 4 * self.output(pooled).squeeze(-1).sigmoid()
        return score
