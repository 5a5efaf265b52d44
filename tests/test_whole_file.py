from pathlib import Path

import pytest

from urgentmos.whole_file import whole_file, write_whole


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("before")
    with whole_file(path) as unfinished:
        unfinished.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def _stop_half_way(path: Path) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt


def test_what_was_there_stays_when_writing_stops(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        _stop_half_way(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with whole_file(path) as unfinished:
        unfinished.write_text("first")
    unfinished.write_text("half")
    with whole_file(path) as unfinished:
        unfinished.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_whole(path, "Größe\n")
    assert path.read_bytes() == "Größe\n".encode()
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\udcff")
    assert path.read_bytes() == "Größe\n".encode()
    write_whole(path, "\udcff", errors="surrogateescape")
    assert path.read_bytes() == b"\xff"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_at_once_have_suffixes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with whole_file(path, suffix=".1") as first:
        first.write_text("first")
        with whole_file(path, suffix=".2") as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"


def test_a_writer_that_goes_by_the_suffix_is_given_it(tmp_path: Path) -> None:
    with whole_file(tmp_path / "labels.csv.gz", suffix=".part.gz") as unfinished:
        assert unfinished.name.startswith("labels.csv.gz")
        assert unfinished.name.endswith(".part.gz")
        unfinished.write_bytes(b"")
