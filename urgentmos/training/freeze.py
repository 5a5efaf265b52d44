"""Keep parts of a model as they are while the others are trained."""

from collections.abc import Sequence

from torch import nn

from urgentmos.config import ConfigError

_DIVIDED = ("encoders", "groups", "heads")
"""Parts that have parts of their own, which are named too."""


def freeze(network: nn.Module, parts: Sequence[str]) -> None:
    """Take the weights of some parts out of training; gradient passes through them all the same.

    Args:
        network: Changed in place.
        parts: Names, as ``encoders.2`` or ``fusion``.

    Raises:
        ConfigError: The network has no weights in such a part; names those it has.
    """
    weights = dict(network.named_parameters())
    for part in parts:
        own = [weight for name, weight in weights.items() if f"{name}.".startswith(f"{part}.")]
        if not own:
            raise ConfigError(
                f"freeze: the model has no weights in {part!r}; its parts are "
                f"{', '.join(dict.fromkeys(map(_part, weights)))}"
            )
        for weight in own:
            weight.requires_grad_(False)


def _part(weight: str) -> str:
    first, *rest = weight.split(".")
    return f"{first}.{rest[0]}" if first in _DIVIDED else first
