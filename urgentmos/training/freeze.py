"""Keep parts of a model as they are while the others are trained."""

from collections.abc import Collection, Sequence

from torch import nn

from urgentmos.config import ConfigError

_DIVIDED = ("encoders", "groups", "heads")
"""Parts that have parts of their own, which are named too."""


def freeze(network: nn.Module, parts: Sequence[str], *, random: Collection[str] = ()) -> None:
    """Take the weights of some parts out of training; gradient passes through them all the same.

    Args:
        network: Changed in place.
        parts: Names, as ``encoders.2`` or ``fusion``.
        random: Names of the weights that are random.

    Raises:
        ConfigError: The network has no weights in such a part, or random ones, which would stay so.
    """
    weights = dict(network.named_parameters())
    for part in parts:
        own = {name: each for name, each in weights.items() if f"{name}.".startswith(f"{part}.")}
        if not own:
            raise ConfigError(
                f"freeze: the model has no weights in {part!r}; its parts are "
                f"{', '.join(dict.fromkeys(map(_part, weights)))}"
            )
        untrained = [name for name in own if name in random]
        if untrained:
            raise ConfigError(
                f"freeze: {len(untrained)} of {len(own)} weights in {part!r} are random, since the "
                "model of start_from lacks them or has them in another shape, and would stay so: "
                f"{', '.join(untrained[:3])}{' ...' if len(untrained) > 3 else ''}"
            )
        for weight in own.values():
            weight.requires_grad_(False)


def _part(weight: str) -> str:
    first, *rest = weight.split(".")
    return f"{first}.{rest[0]}" if first in _DIVIDED else first
