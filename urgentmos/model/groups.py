"""One Transformer encoder per metric group."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class GroupEncoder(nn.Module):
    """Post-norm Transformer encoder with ReLU and no positional encoding, as UrgentMOS has it.

    A plain ``nn.TransformerEncoder`` inside, so that public weights fit by name.
    """

    def __init__(
        self, dim: int, *, layers: int, heads: int, feedforward: int, dropout: float
    ) -> None:
        """Make the layers."""
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            dim, heads, dim_feedforward=feedforward, dropout=dropout, batch_first=True
        )
        # Nested tensors would take the padding out, and warn that they are a prototype.
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(
        self,
        features: Float[Tensor, "batch frames dim"],
        mask: Bool[Tensor, "batch frames"],
    ) -> Float[Tensor, "batch frames dim"]:
        """Encode frames for one group; no frame attends to padding.

        Args:
            features: Joint features.
            mask: True on real frames.
        """
        # Attention without a mask is faster, and the same where there is no padding.
        keep = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in self.encoder.layers:
            features = _run(layer, features, keep)
        return features


def _run(
    layer: nn.TransformerEncoderLayer,
    features: Float[Tensor, "batch frames dim"],
    keep: Bool[Tensor, "batch 1 1 frames"] | None,
) -> Float[Tensor, "batch frames dim"]:
    """Run one layer: torch's own path without gradient is slow on a CPU where there is padding."""
    attended = layer.dropout1(_attend(layer.self_attn, features, keep))
    features = layer.norm1(features + attended)
    inner = layer.dropout(functional.relu(layer.linear1(features)))
    encoded: Tensor = layer.norm2(features + layer.dropout2(layer.linear2(inner)))
    return encoded


def _attend(
    attention: nn.MultiheadAttention,
    features: Float[Tensor, "batch frames dim"],
    keep: Bool[Tensor, "batch 1 1 frames"] | None,
) -> Float[Tensor, "batch frames dim"]:
    projected = functional.linear(features, attention.in_proj_weight, attention.in_proj_bias)
    # (batch, frames, 3 * dim) to three of (batch, heads, frames, dim / heads)
    query, key, value = projected.unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    found = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=keep,
        dropout_p=attention.dropout if attention.training else 0.0,
    )
    attended: Tensor = attention.out_proj(found.transpose(1, 2).flatten(2))
    return attended
