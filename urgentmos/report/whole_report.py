"""Reports that appear complete or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from urgentmos.report.row_file import full_disk_in_words
from urgentmos.whole_file import whole_file


@contextlib.contextmanager
def whole_report(path: Path) -> Iterator[Path]:
    """Give a file to write, which becomes the report at the end; after an error it is gone.

    Args:
        path: The report; replaced where it exists.

    Raises:
        OSError: The disk is full; the message names the report.
    """
    with full_disk_in_words(path), whole_file(path) as unfinished:
        yield unfinished
