"""32-bit floats that torch lets a device round: to TF32 (10 bits of 23), or to bfloat16 (7).

NVIDIA's convolutions are rounded to TF32 as torch comes. Matrix products are where a program asks
for it with ``torch.set_float32_matmul_precision``, as Lightning advises: to TF32 on NVIDIA's GPUs,
and to bfloat16 on processors that have units for it.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

_Restore = Callable[[], None]


class _Switch:
    """A switch of the whole process: the first of several threads turns it, the last turns it back.

    Args:
        turn: Turns it, and gives what turns it back.
    """

    def __init__(self, turn: Callable[[], _Restore]) -> None:
        self._turn = turn
        self._lock = threading.Lock()
        self._inside = 0
        self._restore: _Restore | None = None

    @contextlib.contextmanager
    def turned(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._restore = self._turn()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0 and self._restore is not None:
                    self._restore()


def without_tf32() -> contextlib.AbstractContextManager[None]:
    """Keep NVIDIA's convolutions from rounding to TF32.

    That moves scores by as much as they may differ between batches, and cuDNN chooses by shape.
    """
    return _CONVOLUTIONS.turned()


def with_whole_products() -> contextlib.AbstractContextManager[None]:
    """Keep matrix products of 32-bit floats from being rounded, whatever the program asked for."""
    return _PRODUCTS.turned()


def _turn_convolutions() -> _Restore:
    cudnn: Any = torch.backends.cudnn
    if _uses_newer_names():
        return _set_precision(cudnn.conv)
    before, cudnn.allow_tf32 = cudnn.allow_tf32, False
    return functools.partial(setattr, cudnn, "allow_tf32", before)


def _turn_products() -> _Restore:
    backends: Any = torch.backends
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:
        # The program uses the names that torch has had since 2.9; the two cannot be mixed.
        undo = contextlib.ExitStack()
        for operation in (backends.cuda.matmul, backends.mkldnn.matmul):
            undo.callback(_set_precision(operation))
        return undo.close
    if before == "highest":
        return lambda: None
    torch.set_float32_matmul_precision("highest")
    return functools.partial(torch.set_float32_matmul_precision, before)


def _set_precision(operation: Any) -> _Restore:
    before, operation.fp32_precision = operation.fp32_precision, "ieee"
    return functools.partial(setattr, operation, "fp32_precision", before)


def _uses_newer_names() -> bool:
    """Whether the program uses the names that torch has had since 2.9; the two cannot be mixed."""
    backends: Any = torch.backends
    if not hasattr(backends.cudnn, "conv"):
        return False
    try:
        _ = backends.cudnn.allow_tf32
    except RuntimeError:
        return True
    # Set for all of torch or of cuDNN, it holds where the older name only says "not stated".
    return "tf32" in (backends.fp32_precision, backends.cudnn.fp32_precision)


_CONVOLUTIONS, _PRODUCTS = _Switch(_turn_convolutions), _Switch(_turn_products)
