"""Append-only text files: read the complete lines, drop a last one that a kill cut off."""

import os
from pathlib import Path


def read_whole_lines(path: Path) -> list[str]:
    """Read the lines that have their end, without it; none where there is no file.

    Lines end in a line feed alone: names and texts may hold other breaks, such as U+2028.
    """
    if not path.exists():
        return []
    # Cut before decoding: a line may have been cut within a letter.
    *whole, _ = path.read_bytes().split(b"\n")
    return [line.decode("utf-8") for line in whole]


def cut_broken_line(path: Path) -> None:
    """Drop what follows the last line feed, so that the next line begins on its own."""
    os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
