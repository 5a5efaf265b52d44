"""Build networks without allocating weights; refuse any larger than the file that fills them."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Their arguments are those of ``torch.empty``; the others' length is one of their arguments.
_FILLED = frozenset({torch.zeros, torch.ones, torch.rand, torch.randn})
_RANGES = frozenset({torch.arange, torch.linspace, torch.hann_window})
# What building needs beside the weights: layers that are copied and thrown away, parts of other
# libraries' models that are taken out again, filter banks.
_MORE_TENSORS = 1000
_MORE_VALUES = 1 << 22
# What running a module for a few seconds of audio needs beside them.
_MORE_VALUES_RUNNING = 1 << 26


class Bounded(TorchFunctionMode):
    """Within it, no larger modules are made than given weights can fill.

    For what runs when it is built, and so needs weights of its own. Whatever is far larger than
    all of the given weights together is refused before it takes memory, and so are many more
    tensors than there are weights.

    Args:
        weights: What will fill the network.
    """

    _more_values = _MORE_VALUES_RUNNING

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()
        sizes = [weight.numel() for weight in weights]
        self._num_weights = len(sizes)
        self._num_values = sum(sizes)
        self._tensors_left = 2 * len(sizes) + _MORE_TENSORS

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch if its result is small enough.

        Raises:
            ValueError: It is not.
        """
        kwargs = kwargs or {}
        self._check_made(func, args, kwargs)
        return self._call(func, args, kwargs)

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function that makes no tensor that is too large by its arguments."""
        if _initialises(func) and args and isinstance(args[0], Tensor):
            # A tensor takes memory when it is filled.
            self._check(args[0].shape)
        return func(*args, **kwargs)

    def _check_made(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if func in (torch.empty, Tensor.clone):
            self._count()
        if func is torch.empty or func in _FILLED:
            shaping = {name: value for name, value in kwargs.items() if name != "generator"}
            self._check(torch.empty(*args, **{**shaping, "device": "meta"}).shape)
        elif func in _RANGES:
            for number in (*args, *kwargs.values()):
                if isinstance(number, int | float):
                    self._check([int(number)])

    def _count(self) -> None:
        self._tensors_left -= 1
        if self._tensors_left < 0:
            raise ValueError(
                f"the configuration asks for more layers than the {self._num_weights} tensors of "
                "the weights file can fill"
            )

    def _check(self, shape: Sequence[int]) -> None:
        if math.prod(shape) > self._num_values + self._more_values:
            raise ValueError(
                f"the configuration asks for a tensor of shape {tuple(shape)}, larger than all "
                f"{self._num_values} values of the weights file together"
            )


class Unfilled(Bounded):
    """Within it, modules are made without memory for their weights.

    A configuration of a few bytes can state gigabytes. Here the weights, which modules make with
    ``torch.empty``, lie on the meta device until ``load_state_dict(..., assign=True)`` puts others
    in their place; windows and filter banks are computed as ever. Whatever is larger than all of
    the weights together is refused before there is memory for it, and so are more tensors than
    the weights can fill.

    Args:
        weights: What will fill the network.
    """

    _more_values = _MORE_VALUES

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is torch.empty:
            return torch.empty(*args, **{**kwargs, "device": "meta"})
        if func not in _FILLED | _RANGES:
            tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
            if tensors and tensors[0].is_meta and _initialises(func):
                return tensors[0]
            self._check(_broadcast([tensor.shape for tensor in tensors]))
        return func(*args, **kwargs)


def _broadcast(shapes: Sequence[Sequence[int]]) -> list[int]:
    # By hand: torch.broadcast_shapes imports SymPy, which takes longer than to load a model.
    axes = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return [max(sizes) for sizes in axes][::-1]


def _initialises(func: Callable[..., Any]) -> bool:
    # As ``uniform_``. On the meta device it would do nothing either, but import SymPy for it.
    name = func.__name__
    return name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
