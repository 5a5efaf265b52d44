"""Two folders to pairs of recordings."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from urgentmos.audio import AudioError
from urgentmos.audio_folders import find_audio

_NAMED = 4


@dataclass(frozen=True)
class FolderPairs:
    """The recordings of two folders, A and B, matched.

    Attributes:
        pairs: What is to be compared, in the order of A.
        only_a: What has no counterpart in B.
        only_b: What has none in A.
        unclear: What has several counterparts, which differ in their suffix only, and these: of A,
            then of B.
    """

    pairs: list[tuple[Path, Path]]
    only_a: list[Path]
    only_b: list[Path]
    unclear: list[Path]


def match_folders(folder_a: Path, folder_b: Path) -> FolderPairs:
    """Pair the recordings of two folders by relative path, and what remains whatever its suffix.

    Raises:
        AudioError: A folder holds no audio, or nothing matches.
    """
    files_a, files_b = _by_relative_path(folder_a), _by_relative_path(folder_b)
    partners = {path: path for path in files_a if path in files_b}
    stems_a = _by_stem(path for path in files_a if path not in partners)
    stems_b = _by_stem(path for path in files_b if path not in partners)
    unclear: set[Path] = set()
    for stem in stems_a.keys() & stems_b.keys():
        if len(stems_a[stem]) == len(stems_b[stem]) == 1:
            partners[stems_a[stem][0]] = stems_b[stem][0]
        else:
            unclear.update(stems_a[stem], stems_b[stem])
    taken = set(partners.values())
    matched = FolderPairs(
        pairs=[(f, files_b[partners[path]]) for path, f in files_a.items() if path in partners],
        only_a=[f for path, f in files_a.items() if path not in partners and path not in unclear],
        only_b=[f for path, f in files_b.items() if path not in taken and path not in unclear],
        unclear=[f for files in (files_a, files_b) for path, f in files.items() if path in unclear],
    )
    if not matched.pairs:
        raise AudioError(_why_no_pair(folder_a, folder_b, matched.unclear))
    return matched


def _by_relative_path(folder: Path) -> dict[Path, Path]:
    return {file.relative_to(folder): file for file in find_audio([folder])}


def _by_stem(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    stems: dict[Path, list[Path]] = {}
    for path in paths:
        stems.setdefault(path.parent / path.stem, []).append(path)
    return stems


def _why_no_pair(folder_a: Path, folder_b: Path, unclear: list[Path]) -> str:
    reason = (
        f"no recording of {str(folder_a)!r} has one of the same relative path in {str(folder_b)!r}"
    )
    if unclear:
        names = ", ".join(repr(str(file)) for file in unclear[:_NAMED])
        reason += (
            "; of those that differ in their suffix only, which are to be compared cannot be told: "
            f"{names}" + (" …" if len(unclear) > _NAMED else "")
        )
    return reason
