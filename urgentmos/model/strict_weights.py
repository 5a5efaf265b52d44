"""Weights by name into a module: every one of them, each of its shape, or an error."""

from collections.abc import Iterable

from torch import Tensor, nn


class WeightsError(ValueError):
    """Weights that do not fit the module they should fill."""


def fill_strictly(
    module: nn.Module, tensors: Iterable[tuple[str, Tensor]], *, where: str, target: str
) -> None:
    """Copy tensors into a module, converted to the types it has.

    Args:
        module: Changed in place, tensor by tensor: after an error it is partly filled.
        tensors: By the names of the module's weights and buffers; taken one at a time, so they
            need not be in memory together.
        where: What they come from, for error messages.
        target: What the module is, for error messages.

    Raises:
        WeightsError: One has no place or another shape, or the module has one that is not given.
    """
    expected = module.state_dict()
    missing = dict.fromkeys(expected)
    for name, tensor in tensors:
        if name not in expected:
            raise WeightsError(f"{where}: {name} has no place in {target}")
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"{where}: {name} has shape {tuple(tensor.shape)}, the configuration asks for "
                f"{tuple(expected[name].shape)}"
            )
        expected[name].copy_(tensor)
        missing.pop(name, None)
    if missing:
        shown = ", ".join(list(missing)[:3])
        raise WeightsError(
            f"{where} lacks {len(missing)} of {len(expected)} weights of {target}, which would "
            f"stay random: {shown}{' ...' if len(missing) > 3 else ''}"
        )
