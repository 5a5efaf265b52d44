import errno
import os
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from urgentmos.data.array_store import Made, StoredArrays, open_arrays, recording_keys
from urgentmos.data.manifest import ManifestError, Recording
from urgentmos.file_lock import FileLockedError
from urgentmos.ndarray import NDArray

# Of key "a" a row, of "b" two, ...
SIZES = {key: rows for rows, key in enumerate("abcd", start=1)}


def rows_of(key: str) -> NDArray[np.int16]:
    return np.full((SIZES[key], 2), ord(key), dtype=np.int16)


def open_store(
    path: Path, keys: str, *, made: list[str] | None = None, fail_at: str = ""
) -> StoredArrays:
    """Open a store, one array at a time; a key of ``fail_at`` interrupts it."""

    def make(missing: NDArray[np.int64]) -> Made:
        for position in missing.tolist():
            key = keys[position]
            if key in fail_at:
                raise KeyboardInterrupt
            if made is not None:
                made.append(key)
            yield [(position, rows_of(key))]

    return open_arrays(path, list(keys), make, dtype="<i2", row_shape=(2,))


def arrays(stored: StoredArrays) -> list[str]:
    """Spell every array by its rows: "bb" is both rows of key "b"."""
    return [
        "".join(chr(row[0]) for row in stored.rows[begin : begin + count])
        for begin, count in zip(stored.begins, stored.counts, strict=True)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "x.i2"


def test_only_what_is_missing_is_made(path: Path) -> None:
    made: list[str] = []
    assert arrays(open_store(path, "ca", made=made)) == ["ccc", "a"]
    assert arrays(open_store(path, "abc", made=made)) == ["a", "bb", "ccc"]
    assert made == ["c", "a", "b"]


def test_what_was_whole_before_a_kill_is_kept(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        open_store(path, "abcd", fail_at="c")
    made: list[str] = []
    assert arrays(open_store(path, "abcd", made=made)) == ["a", "bb", "ccc", "dddd"]
    assert made == ["c", "d"]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_kill_in_the_middle_of_writing_costs_the_last_array(path: Path, cut: int) -> None:
    open_store(path, "ab")
    index = path.with_name("x.i2.index")
    whole, data = index.stat().st_size, path.stat().st_size
    open_store(path, "abc")
    # All of the array is there, of its line a part.
    os.truncate(index, min(whole + cut, index.stat().st_size - 1))
    os.truncate(path, data + cut)
    assert arrays(open_store(path, "ba")) == ["bb", "a"]
    assert arrays(open_store(path, "bcad")) == ["bb", "ccc", "a", "dddd"]


def test_an_array_of_two_recordings_is_made_once(path: Path) -> None:
    made: list[str] = []
    assert arrays(open_store(path, "abab", made=made)) == ["a", "bb", "a", "bb"]
    assert made == ["a", "b"]


@pytest.mark.parametrize("keys", ["ab", "abc"])
def test_a_store_whose_rows_are_gone_is_refused(path: Path, keys: str) -> None:
    open_store(path, "ab")
    path.unlink()
    with pytest.raises(ManifestError, match=r"x\.i2 has 0 of the 12 bytes"):
        open_store(path, keys)
    assert not path.exists()


@pytest.mark.parametrize("keys", ["ab", "abc"])
def test_rows_that_the_file_has_lost_are_not_read_as_zeros(path: Path, keys: str) -> None:
    open_store(path, "ab")
    os.truncate(path, 10)
    with pytest.raises(ManifestError, match=r"x\.i2 has 10 of the 12 bytes that its index tells"):
        open_store(path, keys)


def test_the_index_states_what_it_holds(path: Path) -> None:
    open_store(path, "ba")
    assert path.with_name("x.i2.index").read_text() == "<i2 2\nb 0 2\na 2 1\n"
    assert np.fromfile(path, dtype="<i2").tolist() == [98] * 4 + [97] * 2


def test_a_store_of_other_rows_is_refused(path: Path) -> None:
    open_store(path, "a")
    with pytest.raises(ManifestError, match="rows of '<i2 2' are kept there, not of '<f2 3'"):
        open_arrays(path, ["a"], lambda missing: iter([]), dtype="<f2", row_shape=(3,))


def test_a_worker_maps_the_file_and_is_not_sent_it(path: Path) -> None:
    stored = open_store(path, "ba")
    sent = bytes(ForkingPickler.dumps(stored))
    assert bytes([98, 0, 98, 0]) not in sent
    assert arrays(ForkingPickler.loads(sent)) == ["bb", "a"]


def test_a_file_that_is_no_store_is_refused_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "speech.wav"
    file.write_bytes(b"dear")
    with pytest.raises(ManifestError, match=r"speech\.wav is there and is no store"):
        open_store(file, "a")
    assert file.read_bytes() == b"dear"


def test_a_line_of_the_index_that_is_none_is_told(path: Path) -> None:
    open_store(path, "ab")
    index = path.with_name(path.name + ".index")
    lines = index.read_text().splitlines(keepends=True)
    for damaged in ("garbage line\n", "a b c\n"):
        index.write_text("".join([lines[0], damaged, *lines[2:]]))
        with pytest.raises(ManifestError, match=f"{path.name}.index:2: '.*' is no place of a rec"):
            open_store(path, "ab")


def test_a_full_disk_names_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        open_store(path, "ab")


def test_two_runs_do_not_add_at_once(path: Path) -> None:
    def make(missing: NDArray[np.int64]) -> Made:
        open_store(path, "b")
        yield [(0, rows_of("a"))]

    with pytest.raises(FileLockedError, match="another run is writing"):
        open_arrays(path, ["a"], make, dtype="<i2", row_shape=(2,))


def test_a_key_changes_with_the_file_and_not_with_its_time(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"123")
    recording = Recording(file, "a", "s", "r", 1.0)
    before = recording_keys([recording])
    os.utime(file, (1e9, 1e9))
    assert recording_keys([recording]) == before
    file.write_bytes(b"124")
    assert recording_keys([recording]) != before


def test_copies_of_one_name_size_and_time_have_their_own_keys(tmp_path: Path) -> None:
    recordings = []
    for system, sample in (("a", b"2"), ("b", b"3")):
        content = b"1" * 50_000 + sample + b"1" * 50_000
        file = tmp_path / system / "x.wav"
        file.parent.mkdir()
        file.write_bytes(content)
        os.utime(file, (1e9, 1e9))
        recordings.append(Recording(file, "pair:0:a", system, "r", 1.0))
    first, second = recording_keys(recordings)
    assert first != second


def test_a_key_stays_where_a_folder_moves(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/a.wav").write_bytes(b"123")
    before = recording_keys([Recording(tmp_path / "old/a.wav", "a", "s", "r", 1.0)])
    (tmp_path / "old").rename(tmp_path / "new")
    assert recording_keys([Recording(tmp_path / "new/a.wav", "a", "s", "r", 1.0)]) == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"gone\.wav: No such file"):
        recording_keys([Recording(tmp_path / "gone.wav", "a", "s", "r", 1.0)])
