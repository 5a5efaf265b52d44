"""TF32, to which torch lets NVIDIA's convolutions round 32-bit floats: 10 bits instead of 23."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

_lock = threading.Lock()
_inside = 0
_restore: tuple[Any, str, Any] | None = None


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Keep convolutions from rounding to TF32.

    That moves scores by as much as they may differ between batches, and cuDNN chooses by shape. The
    switch is one for the whole process: the first of several threads turns it off, and the last
    turns it back.
    """
    global _inside, _restore
    with _lock:
        if _inside == 0:
            _restore = _turn_off()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _restore is not None:
                setattr(*_restore)


def _turn_off() -> tuple[Any, str, Any]:
    """Turn it off, and give what turns it back: the switch, its name and its value."""
    cudnn: Any = torch.backends.cudnn
    if _uses_newer_names():
        before = cudnn.conv, "fp32_precision", cudnn.conv.fp32_precision
        cudnn.conv.fp32_precision = "ieee"
    else:
        before = cudnn, "allow_tf32", cudnn.allow_tf32
        cudnn.allow_tf32 = False
    return before


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
