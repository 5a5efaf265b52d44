from collections.abc import Callable
from pathlib import Path

import pytest

from urgentmos.audio import AudioError
from urgentmos.scoring import match_folders

MakeFiles = Callable[..., None]


@pytest.fixture
def make(tmp_path: Path) -> MakeFiles:
    """Make empty files."""

    def touch(*names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    return touch


def test_folders_are_matched_by_relative_path_whatever_the_suffix(
    make: MakeFiles, tmp_path: Path
) -> None:
    make("a/x.wav", "a/sub/y.wav", "a/sub/x.wav", "a/only.wav")
    make("b/x.flac", "b/sub/y.wav", "b/sub/x.mp3", "b/z.wav")
    matched = match_folders(tmp_path / "a", tmp_path / "b")
    assert matched.pairs == [
        (tmp_path / "a/sub/x.wav", tmp_path / "b/sub/x.mp3"),
        (tmp_path / "a/sub/y.wav", tmp_path / "b/sub/y.wav"),
        (tmp_path / "a/x.wav", tmp_path / "b/x.flac"),
    ]
    assert (matched.only_a, matched.only_b) == ([tmp_path / "a/only.wav"], [tmp_path / "b/z.wav"])
    assert matched.unclear == []


def test_names_that_differ_in_their_suffix_only_stop_no_other_pair(
    make: MakeFiles, tmp_path: Path
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    # In order: no counterpart; the same name; the other suffix is left; several.
    make("a/k.wav", "a/notes.flac", "a/notes.wav", "a/same.flac", "a/same.wav")
    make("b/k.wav", "b/same.wav")
    make("a/left.flac", "a/left.wav", "a/which.wav", "b/left.mp3", "b/left.wav")
    make("b/which.flac", "b/which.mp3")
    matched = match_folders(a, b)
    assert matched.pairs == [
        (a / "k.wav", b / "k.wav"),
        (a / "left.flac", b / "left.mp3"),
        (a / "left.wav", b / "left.wav"),
        (a / "same.wav", b / "same.wav"),
    ]
    assert matched.only_a == [a / "notes.flac", a / "notes.wav", a / "same.flac"]
    assert matched.only_b == []
    assert matched.unclear == [a / "which.wav", b / "which.flac", b / "which.mp3"]
    swapped = match_folders(b, a)
    assert swapped.pairs == [(of_b, of_a) for of_a, of_b in matched.pairs]
    assert set(swapped.unclear) == set(matched.unclear)


def test_a_folder_matches_itself(make: MakeFiles, tmp_path: Path) -> None:
    make("a/k.wav", "a/notes.flac", "a/notes.wav")
    matched = match_folders(tmp_path / "a", tmp_path / "a")
    assert [of_a for of_a, of_b in matched.pairs if of_a == of_b] == sorted(
        (tmp_path / "a").iterdir()
    )
    assert (matched.only_a, matched.only_b, matched.unclear) == ([], [], [])


def test_folders_that_cannot_be_matched_are_refused(make: MakeFiles, tmp_path: Path) -> None:
    make("a/x.wav", "b/y.wav", "c/x.mp3", "c/x.flac")
    with pytest.raises(AudioError, match=r"same relative path in '[^']*b'$"):
        match_folders(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AudioError, match=r"suffix only, which .*c/x\.flac', '.*c/x\.mp3'$"):
        match_folders(tmp_path / "a", tmp_path / "c")
