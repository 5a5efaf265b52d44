"""Two folders to pairs of recordings."""

from pathlib import Path

from urgentmos.audio import AudioError, find_audio


def match_folders(
    folder_a: Path, folder_b: Path
) -> tuple[list[tuple[Path, Path]], list[Path], list[Path]]:
    """Pair the recordings of two folders by relative path, whatever their suffixes.

    Returns:
        The pairs in order, and what is only in the first and only in the second folder.

    Raises:
        AudioError: A folder holds no audio, two recordings of a folder differ in their suffix
            only, or nothing matches.
    """
    files_a, files_b = _by_stem(folder_a), _by_stem(folder_b)
    pairs = [(file, files_b[stem]) for stem, file in files_a.items() if stem in files_b]
    if not pairs:
        raise AudioError(
            f"no recording of {str(folder_a)!r} has one of the same relative path in "
            f"{str(folder_b)!r}"
        )
    only_a = [file for stem, file in files_a.items() if stem not in files_b]
    only_b = [file for stem, file in files_b.items() if stem not in files_a]
    return pairs, only_a, only_b


def _by_stem(folder: Path) -> dict[Path, Path]:
    files: dict[Path, Path] = {}
    for file in find_audio([folder]):
        relative = file.relative_to(folder)
        stem = relative.parent / relative.stem
        if stem in files:
            raise AudioError(
                f"{str(files[stem])!r} and {str(file)!r} differ in their suffix only: which of "
                "them is to be compared cannot be told"
            )
        files[stem] = file
    return files
