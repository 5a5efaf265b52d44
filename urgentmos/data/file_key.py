"""Names of files that change with them, for what is kept of a file from run to run."""

from pathlib import Path


def file_key(path: Path) -> str:
    """Name a file and its state: another size or time of change is another file."""
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
