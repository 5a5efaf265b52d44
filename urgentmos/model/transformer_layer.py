"""The Transformer layer of every part of a model that is our own."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class TransformerLayer(nn.TransformerEncoderLayer):
    """Attention over real frames, then a network per frame: post-norm with ReLU.

    torch's layer, computed here: its own path without gradient is slow on a CPU with padding.
    """

    def forward(
        self,
        src: Float[Tensor, "batch frames dim"],
        src_mask: Tensor | None = None,
        src_key_padding_mask: Bool[Tensor, "batch frames"] | None = None,
        is_causal: bool = False,
    ) -> Float[Tensor, "batch frames dim"]:
        """Attend to every frame that is no padding, whatever its place, then transform each."""
        if src_mask is not None or is_causal:
            raise ValueError("frames attend to all others: expected no src_mask")
        keep = None if src_key_padding_mask is None else ~src_key_padding_mask[:, None, None]
        src = self.norm1(src + self.dropout1(_attend(self.self_attn, src, keep)))
        inner = self.dropout(functional.relu(self.linear1(src)))
        encoded: Tensor = self.norm2(src + self.dropout2(self.linear2(inner)))
        return encoded


def _attend(
    attention: nn.MultiheadAttention,
    features: Float[Tensor, "batch frames dim"],
    keep: Bool[Tensor, "batch 1 1 frames"] | None,
) -> Float[Tensor, "batch frames dim"]:
    projected = functional.linear(features, attention.in_proj_weight, attention.in_proj_bias)
    # (batch, frames, 3 * dim) to three of (batch, heads, frames, dim / heads)
    parts = projected.view(*features.shape[:2], 3, attention.num_heads, -1)
    query, key, value = parts.permute(2, 0, 3, 1, 4)
    found = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=keep,
        dropout_p=attention.dropout if attention.training else 0.0,
    )
    attended: Tensor = attention.out_proj(found.transpose(1, 2).flatten(2))
    return attended
