from pathlib import Path

import pytest

from urgentmos.audio import AudioError
from urgentmos.scoring import match_folders


def test_folders_are_matched_by_relative_path_whatever_the_suffix(tmp_path: Path) -> None:
    names_a = ("x.wav", "sub/y.wav", "sub/x.wav", "only.wav")
    names_b = ("x.flac", "sub/y.wav", "sub/x.mp3", "z.wav")
    for name in (*(f"a/{name}" for name in names_a), *(f"b/{name}" for name in names_b)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pairs, only_a, only_b = match_folders(tmp_path / "a", tmp_path / "b")
    relative = [(str(a.relative_to(tmp_path)), str(b.relative_to(tmp_path))) for a, b in pairs]
    assert relative == [
        ("a/sub/x.wav", "b/sub/x.mp3"),
        ("a/sub/y.wav", "b/sub/y.wav"),
        ("a/x.wav", "b/x.flac"),
    ]
    assert (only_a, only_b) == ([tmp_path / "a/only.wav"], [tmp_path / "b/z.wav"])


def test_folders_that_cannot_be_matched_are_refused(tmp_path: Path) -> None:
    for name in ("a/x.wav", "b/y.wav", "c/x.wav", "c/x.flac"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(AudioError, match="same relative path"):
        match_folders(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AudioError, match="differ in their suffix only"):
        match_folders(tmp_path / "a", tmp_path / "c")
