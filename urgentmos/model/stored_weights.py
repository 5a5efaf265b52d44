"""Whether a weight from a file is one that a model asks for."""

import torch
from torch import Tensor

# What holds a weight's value itself. Smaller types hold it divided by a scale that lies elsewhere.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


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
    return "" if bool(torch.isfinite(stored).all()) else "has values that are not finite"


def _of_type(stored: Tensor, expected: str) -> str:
    return f"is of type {stored.dtype}, expected {expected}"
