from pathlib import Path

import pytest

from urgentmos.report.row_file import OutputError, Record, read_records
from urgentmos.report.timeline import TimelineFile

COLUMNS: dict[str, type] = {"path": str, "start_s": float, "end_s": float, "mos": float}


def _windows(path: str) -> list[Record]:
    return [
        {"path": path, "start_s": start, "end_s": start + 20.0, "mos": 3.0} for start in (0.0, 15.0)
    ]


def test_a_resumed_timeline_holds_each_window_once(tmp_path: Path) -> None:
    path = tmp_path / "timeline.csv"
    with TimelineFile(path, columns=COLUMNS, mode="new", scored=[]) as timeline:
        timeline.write(_windows("a.wav"))
        # Killed before the row of b, in the middle of its second window.
        timeline.write(_windows("b.wav"))
    path.write_bytes(path.read_bytes()[:-5])
    with TimelineFile(path, columns=COLUMNS, mode="resume", scored=["a.wav"]) as timeline:
        timeline.write(_windows("b.wav"))
    assert list(read_records(path, COLUMNS, "csv")) == _windows("a.wav") + _windows("b.wav")


def test_rows_without_their_timeline_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"3 rows are there, their timeline .* is not"):
        TimelineFile(
            tmp_path / "timeline.csv",
            columns=COLUMNS,
            mode="resume",
            scored=["a.wav", "b.wav", "c.wav"],
        )


def test_rows_without_windows_in_their_timeline_are_refused_and_spare_it(tmp_path: Path) -> None:
    path = tmp_path / "timeline.csv"
    with TimelineFile(path, columns=COLUMNS, mode="new", scored=[]) as timeline:
        timeline.write(_windows("a.wav"))
        timeline.write(_windows("killed.wav"))
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"2 rows, as that of 'b\.wav', have no windows in the"):
        TimelineFile(path, columns=COLUMNS, mode="resume", scored=["a.wav", "c.wav", "b.wav"])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_resume_without_an_earlier_run_begins_a_timeline(tmp_path: Path) -> None:
    path = tmp_path / "timeline.csv"
    with TimelineFile(path, columns=COLUMNS, mode="resume", scored=[]) as timeline:
        timeline.write(_windows("a.wav"))
    assert list(read_records(path, COLUMNS, "csv")) == _windows("a.wav")


def test_resuming_without_rows_spares_a_file_that_is_no_timeline(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("what,when\na,b\n")
    with pytest.raises(OutputError, match=r"notes\.csv"):
        TimelineFile(path, columns=COLUMNS, mode="resume", scored=[])
    assert path.read_text() == "what,when\na,b\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("left", ["", "path,start_s,end_s,mos\n", "path,sta"])
def test_a_timeline_that_a_kill_left_without_windows_is_begun_anew(
    tmp_path: Path, left: str
) -> None:
    path = tmp_path / "timeline.csv"
    path.write_text(left)
    with TimelineFile(path, columns=COLUMNS, mode="resume", scored=[]) as timeline:
        timeline.write(_windows("a.wav"))
    assert list(read_records(path, COLUMNS, "csv")) == _windows("a.wav")
