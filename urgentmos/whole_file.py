"""Files that appear complete or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path, *, suffix: str = ".unfinished") -> Iterator[Path]:
    """Give a file to write, which takes the place of another at the end; after an error it is gone.

    It lies beside the other, and is each process's own, so that several may write one file; the
    last stays.

    Args:
        path: What it becomes; replaced where it exists.
        suffix: How its name ends, for a writer that goes by that.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
