"""Weights by name into a module: every one of them, each of its shape, or an error."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# What holds a weight's value itself. Smaller types hold it divided by a scale that lies elsewhere.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class WeightsError(ValueError):
    """Weights that do not fit the module they should fill."""


def fill_strictly(
    module: nn.Module, tensors: Iterable[tuple[str, Tensor]], *, where: str, target: str
) -> None:
    """Copy tensors into a module, converted to the types it has.

    Args:
        module: Changed in place, tensor by tensor: after an error it is partly filled. Weights
            that are on the meta device, as those made within ``Unfilled``, come into memory.
        tensors: By the names of the module's weights and buffers; taken one at a time, so they
            need not be in memory together.
        where: What they come from, for error messages.
        target: What the module is, for error messages.

    Raises:
        WeightsError: One has no place, comes twice or is a `misfit`, or the module has one that is
            not given.
    """
    expected = module.state_dict()
    missing = dict.fromkeys(expected)
    made: dict[str, Tensor] = {}
    for name, tensor in tensors:
        if name not in expected:
            raise WeightsError(f"{where}: {name} has no place in {target}")
        if name not in missing:
            raise WeightsError(f"{where} holds {name} of {target} twice")
        wrong = misfit(tensor, expected[name])
        if wrong:
            raise WeightsError(f"{where}: {name} {wrong}")
        if expected[name].is_meta:
            made[name] = laid_out(tensor, expected[name])
        else:
            expected[name].copy_(tensor)
        del missing[name]
    if missing:
        shown = ", ".join(list(missing)[:3])
        raise WeightsError(
            f"{where} lacks {len(missing)} of {len(expected)} weights of {target}, which would "
            f"stay random: {shown}{' ...' if len(missing) > 3 else ''}"
        )
    if made:
        module.load_state_dict(made, strict=False, assign=True)


def laid_out(stored: Tensor, expected: Tensor) -> Tensor:
    """Copy a weight into the type and the order in memory that the module chose for it."""
    made = torch.empty_strided(expected.shape, expected.stride(), dtype=expected.dtype)
    return made.copy_(stored)


def misfit(stored: Tensor, expected: Tensor) -> str:
    """Say what is wrong with a weight, or nothing: an empty string.

    Copied as they are, quantised numbers would be taken for weights, and one that is no number
    makes every score one that is none.

    Args:
        stored: From a file.
        expected: The model's own, of which only shape and type count.
    """
    if stored.shape != expected.shape:
        return f"has shape {tuple(stored.shape)}, the model asks for {tuple(expected.shape)}"
    if not expected.is_floating_point():
        return "" if stored.dtype == expected.dtype else _of_type(stored, str(expected.dtype))
    if stored.dtype not in _FLOATS:
        return _of_type(stored, "16 to 64 bits of floating point: quantised weights are not read")
    # A float64 can be finite, and infinite in the type that the model computes in.
    is_finite = bool(torch.isfinite(stored.to(expected.dtype)).all())
    return "" if is_finite else f"has values that are not finite in {expected.dtype}"


def _of_type(stored: Tensor, expected: str) -> str:
    return f"is of type {stored.dtype}, expected {expected}"
