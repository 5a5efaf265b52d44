"""Folders are searched for recordings."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.audio import AudioError, read_audio
from urgentmos.audio_folders import find_audio, tell_undecoded

TONE = 0.1 * np.sin(np.arange(8000))


def test_folders_are_searched_and_sorted(tmp_path: Path) -> None:
    for name in ("b.wav", "a.FLAC", "sub/c.mp3", "sub/deep/d.opus", "notes.txt", "z.ogg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_audio([tmp_path])]
    assert found == ["a.FLAC", "b.wav", "sub/c.mp3", "sub/deep/d.opus", "z.ogg"]


@pytest.mark.parametrize(
    ("suffix", "audio_format"),
    [
        (".sph", "NIST"),
        (".nist", "NIST"),
        (".mp2", "MP3"),
        (".rf64", "RF64"),
        (".w64", "W64"),
        (".caf", "CAF"),
        (".au", "AU"),
        (".snd", "AU"),
        (".aif", "AIFF"),
        (".aifc", "AIFF"),
        (".oga", "OGG"),
        (".voc", "VOC"),
        (".bwf", "WAVEX"),
    ],
)
def test_formats_of_speech_are_found_and_read(
    tmp_path: Path, suffix: str, audio_format: str
) -> None:
    soundfile.write(tmp_path / f"a{suffix}", TONE, 16000, format=audio_format)
    (found,) = find_audio(tmp_path)
    assert read_audio(found).duration_s == pytest.approx(0.5, abs=0.01)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    for name in ("a.wav", "._a.wav", ".cache/b.wav"):
        (tmp_path / name).touch()
    assert find_audio([tmp_path]) == [tmp_path / "a.wav"]


def test_files_named_are_listed_whatever_they_are(tmp_path: Path) -> None:
    assert find_audio(["x.txt", tmp_path / "missing.wav"]) == [
        Path("x.txt"),
        tmp_path / "missing.wav",
    ]


def test_a_single_path_is_not_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert find_audio(str(tmp_path)) == find_audio(tmp_path) == [tmp_path / "a.wav"]
    assert find_audio("x.wav") == [Path("x.wav")]


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(AudioError, match="an empty name is no file or folder"):
        find_audio(["x.wav", ""])


def test_a_path_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert find_audio([tmp_path / "a.wav", tmp_path, tmp_path]) == [tmp_path / "a.wav"]


def test_link_loops_end(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.wav").touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    assert find_audio([tmp_path]) == [tmp_path / "self.wav", tmp_path / "sub" / "a.wav"]
    with pytest.raises(AudioError, match=r"cannot be opened: .*symbolic links"):
        read_audio(tmp_path / "self.wav")


def test_odd_names_are_found_and_read(tmp_path: Path) -> None:
    names = ["-v.wav", "a b.wav", "new\nline.wav", "naïve 音.wav", os.fsdecode(b"\xff\xfe.wav")]
    for name in names:
        with (tmp_path / name).open("wb") as file:
            soundfile.write(file, TONE, 16000, format="WAV")
    found = find_audio([tmp_path])
    assert sorted(path.name for path in found) == sorted(names)
    assert all(read_audio(path).duration_s == pytest.approx(0.5) for path in found)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    names = ("a.wav", "a.m4a", "sub/b.M4A", "sub/c.webm", "sub/d.mka", "sub/e.3gp", ".d.aac")
    for name in (*names, "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    told = tell_undecoded([tmp_path, tmp_path / "sub", tmp_path / "a.m4a"])
    assert told is not None
    assert ": 1 .3gp, 2 .m4a, 1 .mka, 1 .webm; convert to WAV" in told
    (tmp_path / "other").mkdir()
    assert tell_undecoded([tmp_path / "other", "missing.m4a"]) is None


def test_a_folder_that_may_not_be_looked_into_is_listed_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    for name in ("a.wav", "closed/b.wav", "d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "scandir", refuse)
    expected = [tmp_path / name for name in ("a.wav", "closed", "d.wav")]
    assert find_audio([tmp_path]) == expected
    assert find_audio([tmp_path / "closed"]) == [tmp_path / "closed"]


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(AudioError, match="no audio in folder"):
        find_audio([tmp_path])


def test_a_folder_of_what_needs_converting_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").touch()
    with pytest.raises(AudioError, match=r"no audio in .*left out.*: 1 \.m4a; convert to WAV"):
        find_audio([tmp_path])
