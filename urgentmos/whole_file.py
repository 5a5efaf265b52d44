"""Files that appear complete or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path, *, suffix: str = ".unfinished") -> Iterator[Path]:
    """Give a file to write, which takes the place of another at the end; after an error it is gone.

    It lies beside the other under one name, so that what a kill leaves of it is replaced by whoever
    writes it next. Where several may write at once, each needs a suffix of its own.

    Args:
        path: What it becomes; replaced where it exists.
        suffix: How its name ends beyond that of ``path``.
    """
    unfinished = path.with_name(path.name + suffix)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, text: str, *, errors: str | None = None) -> None:
    """Write a text file in UTF-8 that appears complete or not at all.

    Args:
        path: What is written; replaced where it exists.
        text: Its text.
        errors: What becomes of characters that UTF-8 has not, as of `open`.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors=errors)
