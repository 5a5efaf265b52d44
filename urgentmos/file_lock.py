"""One run at a time on a file or in a folder: the lock of what is written row by row."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class FileLockedError(ValueError):
    """Another run is writing the file."""


def lock_file(descriptor: int, path: Path) -> None:
    """Lock an open file until it is closed; on Windows there is no lock.

    Args:
        descriptor: The open file.
        path: Where it was opened.

    Raises:
        FileLockedError: Another run holds it, or has removed it in the meantime.
    """
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run may have finished and removed the file between our opening and locking it.
        is_ours = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
    except BlockingIOError as error:
        raise FileLockedError(f"another run is writing {str(path)!r}") from error
    if not is_ours:
        raise FileLockedError(f"another run has just finished writing {str(path)!r}")


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[int | None]:
    """Keep other runs out of a folder; on Windows there is no lock.

    Yields:
        The descriptor that holds the lock. A forked process has it too, and holds the lock for as
        long as it does not close it.

    Raises:
        FileLockedError: Another run is in it.
    """
    if sys.platform == "win32":
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock_file(descriptor, folder)
        yield descriptor
    finally:
        os.close(descriptor)
