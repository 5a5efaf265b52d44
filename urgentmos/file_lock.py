"""One run at a time on a file or in a folder: the lock of what is written row by row."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_PATIENCE_S = 60.0


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
        is_ours = os.path.samestat(os.fstat(descriptor), path.stat())
    except BlockingIOError as error:
        raise FileLockedError(f"another run is writing {str(path)!r}") from error
    except FileNotFoundError:
        is_ours = False
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


@contextlib.contextmanager
def wait_for_lock(path: Path) -> Iterator[None]:
    """Keep other runs from a file while it is read and written anew; a minute at most is waited.

    What is locked is ``PATH.lock`` beside it, since the file itself may be replaced.

    Args:
        path: The file, in a folder that exists.

    Raises:
        FileLockedError: Another run has held it all the time.
    """
    beside = path.with_name(path.name + ".lock")
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        file = beside.open("a")
        try:
            lock_file(file.fileno(), beside)
            break
        except FileLockedError:
            file.close()
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
    try:
        yield
    finally:
        if sys.platform != "win32":
            # Before it is closed: afterwards it may be another run's.
            beside.unlink()
        file.close()
