"""The recordings that folders hold."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from urgentmos.audio import AudioError
from urgentmos.audio_suffixes import AUDIO_SUFFIXES, HOW_TO_CONVERT, UNDECODED_SUFFIXES


def find_audio(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[Path]:
    """List recordings: files as given, folders searched for ``AUDIO_SUFFIXES``.

    Folders are searched recursively and sorted by path; links are followed, loops are not; files
    and folders whose name starts with a dot are left out. A path is listed once. A file given by
    name is listed even if it does not exist, so that it gets its row; so is a folder that may not
    be looked into.

    Args:
        paths: Files and folders, or one of them.

    Raises:
        AudioError: A folder holds no audio, or a name is empty.
    """
    # A string is a sequence of strings, and its dots would be folders.
    given: Iterable[str | os.PathLike[str]] = (
        [paths] if isinstance(paths, str | os.PathLike) else paths
    )
    found: dict[Path, None] = {}
    for name in given:
        if not os.fspath(name):
            raise AudioError("an empty name is no file or folder; the current folder is '.'")
        path = Path(name)
        # Not path.is_dir(), which raises what open() will tell: too long a name, a closed folder.
        if os.path.isdir(path):
            closed: list[OSError] = []
            inside = [*_walk(path, AUDIO_SUFFIXES, closed), *(Path(e.filename) for e in closed)]
            if not inside:
                raise AudioError(_why_no_audio(path))
            found.update(dict.fromkeys(sorted(inside, key=lambda file: file.parts)))
        else:
            found[path] = None
    return list(found)


def tell_undecoded(paths: Iterable[str | os.PathLike[str]]) -> str | None:
    """Say which audio and video in folders ``find_audio`` leaves out, and how to convert it.

    Args:
        paths: Files and folders; a file given by name is not left out.

    Returns:
        One line, or None where there is nothing of the kind.
    """
    files = {file for path in paths for file in _walk(Path(path), UNDECODED_SUFFIXES, [])}
    counts = Counter(file.suffix.lower() for file in files)
    if not counts:
        return None
    counted = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return f"left out, as they cannot be read here: {counted}; {HOW_TO_CONVERT}"


def _why_no_audio(folder: Path) -> str:
    reason = f"no audio in folder {str(folder)!r}; looked for {' '.join(sorted(AUDIO_SUFFIXES))}"
    return "; ".join(filter(None, [reason, tell_undecoded([folder])]))


def _walk(folder: Path, suffixes: frozenset[str], closed: list[OSError]) -> Iterator[Path]:
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, onerror=closed.append, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(parent, name)
