"""What the encoders that others trained have in common: options, freezing, layer by layer."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from urgentmos.model.encoders.encoder import Encoder


@dataclass
class PretrainedConfig:
    """Options of every pretrained encoder.

    Attributes:
        trainable_layers: How many of the last layers are trained, or ``all`` for every weight;
            0 keeps the encoder frozen. Gradient passes through frozen weights all the same.
        gradient_checkpointing: Keep only the layers' inputs for the backward pass and compute the
            rest again: less memory, about a third more time.
        pretrained: False builds the structure only; its weights come with a saved model.
    """

    trainable_layers: int | Literal["all"] = 0
    gradient_checkpointing: bool = False
    pretrained: bool = True


class PretrainedEncoder(Encoder):
    """An encoder around a tower of layers, of which all, some or none are trained.

    What is frozen stays in evaluation mode: no dropout and no random masking of features whose
    weights do not learn from it.

    Attributes:
        layers: The tower's layers in order.
    """

    def __init__(
        self, tower: nn.Module, layers: Sequence[nn.Module], *, config: PretrainedConfig
    ) -> None:
        """Freeze the tower but for the layers that are trained.

        Args:
            tower: All of the encoder's weights.
            layers: Its layers in order.
            config: How many of them are trained.

        Raises:
            ValueError: There are fewer layers than should be trained.
        """
        super().__init__()
        # Its parts are those of another library, which types them as any module or tensor.
        self.tower: Any = tower
        self.layers = list(layers)
        self.gradient_checkpointing = config.gradient_checkpointing
        self._trained = _last(layers, config.trainable_layers, tower)
        tower.requires_grad_(False)
        for module in self._trained:
            module.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "PretrainedEncoder":
        """Set training mode where weights are trained; the rest stays in evaluation mode."""
        super().train(mode)
        self.tower.eval()
        for module in self._trained:
            module.train(mode)
        return self

    @property
    def frozen(self) -> bool:
        """Whether no weight is trained."""
        return not self._trained

    def recompute(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Call a part of the tower, keeping only its inputs if so configured."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *inputs, use_reentrant=False)
        return function(*inputs)

    def run_layers(
        self,
        layers: Iterable[Callable[..., Tensor]],
        hidden: Float[Tensor, "*batch frames dim"],
        *inputs: Any,
    ) -> list[Float[Tensor, "*batch frames dim"]]:
        """Give the input of the first layer and the output of each."""
        states = [hidden]
        for layer in layers:
            states.append(self.recompute(layer, states[-1], *inputs))
        return states


def attention_mask(
    valid: Bool[Tensor, "batch frames"], dtype: torch.dtype, *, flash: bool
) -> Tensor | None:
    """Tell attention in transformers which frames are valid.

    Args:
        valid: True on valid frames; None is returned where all are.
        dtype: Type of the hidden states.
        flash: Whether attention is flash attention, which takes the mask as it is; the others add
            it to the scores.
    """
    if bool(valid.all()):
        return None
    if flash:
        return valid
    allowed = torch.zeros(valid.shape, dtype=dtype, device=valid.device)
    return allowed.masked_fill(~valid, -torch.inf)[:, None, None]


def _last(
    layers: Sequence[nn.Module], count: int | Literal["all"], tower: nn.Module
) -> list[nn.Module]:
    if count == "all":
        return [tower]
    if not 0 <= count <= len(layers):
        raise ValueError(
            f"trainable_layers: expected 0 to {len(layers)}, the layers there are, or 'all'; "
            f"got {count}"
        )
    return list(layers[len(layers) - count :])
