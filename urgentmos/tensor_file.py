"""Tensors to safetensors and back, with the operating system's errors as Python has them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file, by name.

    Raises:
        OSError: It is not there, or may not be read.
        SafetensorError: It is no safetensors file.
    """
    # safetensors says that a file which may not be read does not exist.
    with path.open("rb"):
        return load_file(path)


def open_tensors(path: Path) -> Any:
    """Open a file to read its tensors one by one, as ``safetensors.safe_open``.

    Raises:
        OSError: It is not there, or may not be read.
        SafetensorError: It is no safetensors file.
    """
    with path.open("rb"):
        return safe_open(path, framework="pt")


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
