"""One Transformer encoder per metric group."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from urgentmos.model.transformer_layer import TransformerLayer


class GroupEncoder(nn.Module):
    """Post-norm Transformer encoder with ReLU and no positional encoding, as UrgentMOS has it.

    An ``nn.TransformerEncoder`` inside, so that public weights fit by name.
    """

    def __init__(
        self, dim: int, *, layers: int, heads: int, feedforward: int, dropout: float
    ) -> None:
        """Make the layers."""
        super().__init__()
        layer = TransformerLayer(
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
        padding = None if bool(mask.all()) else ~mask
        for layer in self.encoder.layers:
            features = layer(features, src_key_padding_mask=padding)
        return features
