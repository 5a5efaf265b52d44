"""Files that appear complete or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from urgentmos.report.row_file import full_disk_in_words


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a file to write, which takes the place of another at the end; after an error it is gone.

    Args:
        path: What it becomes; replaced where it exists.

    Raises:
        OSError: The disk is full; the message names the file that found no room.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with full_disk_in_words(unfinished):
            yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
