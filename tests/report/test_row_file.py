import csv
import errno
import json
import os
from pathlib import Path

import pytest

from urgentmos.file_lock import FileLockedError
from urgentmos.report.row_file import (
    OutputError,
    Record,
    RowFile,
    RowFormat,
    full_disk_in_words,
    read_records,
    streamed_format,
)

FORMATS: tuple[RowFormat, ...] = ("csv", "jsonl")


def _write(path: Path, columns: dict[str, type], fmt: RowFormat, records: list[Record]) -> None:
    file = RowFile(path, columns, fmt, must_be_new=True)
    file.restart()
    for record in records:
        file.write(record)
    file.close()


@pytest.mark.parametrize("fmt", FORMATS)
def test_what_was_written_is_read(
    tmp_path: Path, columns: dict[str, type], records: list[Record], fmt: RowFormat
) -> None:
    _write(tmp_path / "rows", columns, fmt, records)
    assert list(read_records(tmp_path / "rows", columns, fmt)) == records


def test_windows_can_write_rows_and_their_bytes_stay_as_they_are(
    tmp_path: Path,
    columns: dict[str, type],
    records: list[Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_descriptor, flags = os.open, []

    def note_flags(path: Path, given: int, mode: int = 0o777) -> int:
        flags.append(given)
        return open_descriptor(path, given, mode)

    # Of Windows: no writing at a position, and a flag for files that are not text (elsewhere this
    # one changes nothing).
    monkeypatch.delattr(os, "pwrite", raising=False)
    monkeypatch.setattr(os, "O_BINARY", 0x8000, raising=False)
    monkeypatch.setattr(os, "open", note_flags)
    _write(tmp_path / "rows.csv", columns, "csv", records)
    assert [given & 0x8000 for given in flags] == [0x8000]
    assert list(read_records(tmp_path / "rows.csv", columns, "csv")) == records


def test_csv_is_what_other_programs_read(
    tmp_path: Path, columns: dict[str, type], records: list[Record]
) -> None:
    _write(tmp_path / "rows.csv", columns, "csv", records)
    text = (tmp_path / "rows.csv").read_text(encoding="utf-8", errors="surrogateescape")
    assert text.splitlines()[:2] == [
        "path,status,error,duration_s,channels,model,mos",
        "plain.wav,ok,,1.25,1,abc+1,3.14159",
    ]
    with (tmp_path / "rows.csv").open(newline="", errors="surrogateescape") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [r["path"] for r in records]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_csv_that_a_spreadsheet_saved_is_read(
    tmp_path: Path, columns: dict[str, type], records: list[Record], mark: bytes
) -> None:
    # Within a name the end of a line stays as it is.
    chosen = [record for record in records if "\n" not in str(record["path"])]
    path = tmp_path / "rows.csv"
    _write(path, columns, "csv", chosen)
    path.write_bytes(mark + path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(read_records(path, columns, "csv")) == chosen
    path.write_bytes(path.read_bytes()[:-3])
    assert list(read_records(path, columns, "csv")) == chosen[:-1]


def test_json_lines_are_valid_json(
    tmp_path: Path, columns: dict[str, type], records: list[Record]
) -> None:
    _write(tmp_path / "rows.jsonl", columns, "jsonl", records)
    lines = (tmp_path / "rows.jsonl").read_text(encoding="ascii").splitlines()
    assert [json.loads(line) for line in lines] == records


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_cut_off_anywhere_holds_the_rows_before(
    tmp_path: Path, columns: dict[str, type], records: list[Record], fmt: RowFormat
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    _write(whole, columns, fmt, records)
    content = whole.read_bytes()
    num_rows = []
    for length in range(len(content) + 1):
        cut.write_bytes(content[:length])
        rows = list(read_records(cut, columns, fmt))
        assert rows == records[: len(rows)]
        num_rows.append(len(rows))
    assert num_rows == sorted(num_rows)
    assert (num_rows[0], num_rows[-1]) == (0, len(records))


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_full_disk_leaves_whole_rows_and_says_so(
    tmp_path: Path,
    columns: dict[str, type],
    records: list[Record],
    fmt: RowFormat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "rows"
    file = RowFile(path, columns, fmt, must_be_new=True)
    file.restart()
    file.write(records[0])
    write = os.write

    def write_a_little(descriptor: int, line: bytes) -> int:
        if len(line) < 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, line[:10])

    monkeypatch.setattr(os, "write", write_a_little)
    with pytest.raises(OSError, match="no space left; the rows written so far are whole"):
        file.write(records[1])
    monkeypatch.undo()
    assert list(read_records(path, columns, fmt)) == records[:1]
    assert path.read_bytes().endswith(b"\n")
    file.write(records[2])
    file.close()
    assert list(read_records(path, columns, fmt)) == [records[0], records[2]]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "no space left; the rows"),
        (errno.EDQUOT, "no space left; the rows"),
        (errno.EFBIG, "may not become larger here; the rows"),
        (errno.EIO, "as the system says it"),
    ],
)
def test_only_errors_that_room_on_the_disk_would_fix_are_put_in_words(
    number: int, told: str
) -> None:
    with pytest.raises(OSError, match=told) as error, full_disk_in_words(Path("rows.csv")):
        raise OSError(number, "as the system says it")
    assert error.value.errno == number


def test_two_runs_on_one_file_are_refused(tmp_path: Path, columns: dict[str, type]) -> None:
    first = RowFile(tmp_path / "rows.csv", columns, "csv", must_be_new=True)
    with pytest.raises(FileLockedError, match=r"another run is writing .*rows\.csv"):
        RowFile(tmp_path / "rows.csv", columns, "csv", must_be_new=False)
    first.close()
    RowFile(tmp_path / "rows.csv", columns, "csv", must_be_new=False).close()


def test_an_existing_file_is_not_written_over(tmp_path: Path, columns: dict[str, type]) -> None:
    (tmp_path / "rows.csv").write_text("precious")
    with pytest.raises(OutputError, match="exists: replace it with --overwrite"):
        RowFile(tmp_path / "rows.csv", columns, "csv", must_be_new=True)
    assert (tmp_path / "rows.csv").read_text() == "precious"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, columns: dict[str, type]) -> None:
    with pytest.raises(OutputError, match=r"the folder of .* does not exist"):
        RowFile(tmp_path / "no" / "rows.csv", columns, "csv", must_be_new=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("path,mos\na.wav,1\n", r"other columns than this run \(it lacks \['status'"),
        ("PRECIOUS NOTES\n", "other columns"),
        (
            "path,status,error,duration_s,channels,model,mos\na.wav,ok\nb.wav,ok,,1,1,m,1\n",
            "a row has 2 fields, expected 7",
        ),
        (
            "path,status,error,duration_s,channels,model,mos\na.wav,ok,,x,1,m,1\n",
            "could not convert",
        ),
    ],
)
def test_a_csv_file_of_another_kind_is_refused(
    tmp_path: Path, columns: dict[str, type], content: str, reason: str
) -> None:
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(OutputError, match=reason):
        list(read_records(tmp_path / "rows.csv", columns, "csv"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("hello\n", "line 1: not JSON"),
        ("[]\n", "other columns"),
        ('{"path": 1}\n', "other columns"),
    ],
)
def test_a_json_lines_file_of_another_kind_is_refused(
    tmp_path: Path, columns: dict[str, type], content: str, reason: str
) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(OutputError, match=reason):
        list(read_records(tmp_path / "rows.jsonl", columns, "jsonl"))


@pytest.mark.parametrize("fmt", FORMATS)
def test_columns_in_another_order_are_refused(
    tmp_path: Path, columns: dict[str, type], records: list[Record], fmt: RowFormat
) -> None:
    _write(tmp_path / "rows", columns, fmt, records)
    with pytest.raises(OutputError, match="order differs"):
        list(read_records(tmp_path / "rows", dict(reversed(columns.items())), fmt))


def test_the_suffix_names_the_format() -> None:
    assert streamed_format(Path("a.CSV")) == "csv"
    assert streamed_format(Path("a.jsonl")) == "jsonl"
    with pytest.raises(OutputError, match=r"one of \.csv, \.jsonl, \.html"):
        streamed_format(Path("a.xls"), others=[".html"])
