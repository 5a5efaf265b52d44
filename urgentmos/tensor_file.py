"""Tensors to safetensors, with the operating system's errors as Python has them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a file, replacing what is there.

    Args:
        tensors: Contiguous tensors by name, of which no two share memory.
        path: The file, in a folder that exists.

    Raises:
        OSError: It cannot be written: the disk is full, say. safetensors tells that as an error of
            its own, with the system's number in its text.
    """
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        stated = _ERROR_NUMBER.search(str(error))
        if stated is None:
            raise
        number = int(stated[1])
        raise OSError(number, os.strerror(number), str(path)) from error
