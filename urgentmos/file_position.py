"""A look elsewhere in an open file, for which its reader does not lose its place."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def position_kept(descriptor: int) -> Iterator[None]:
    """Put the position of an open file back afterwards."""
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        yield
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
