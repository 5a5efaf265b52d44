"""What is whole of a file of lines."""

from pathlib import Path

from urgentmos.whole_lines import cut_broken_line, read_whole_lines


def test_a_line_cut_within_a_letter_is_left_out(tmp_path: Path) -> None:
    """A kill may leave a part of a letter, which is no text."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes("one\u2028more\n语音\n语".encode()[:-1])

    assert read_whole_lines(path) == ["one\u2028more", "语音"]


def test_after_the_cut_a_new_line_begins_on_its_own(tmp_path: Path) -> None:
    """What is appended next does not run into the broken line."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"one\ntw")

    cut_broken_line(path)
    with path.open("a") as file:
        file.write("two\n")

    assert path.read_text() == "one\ntwo\n"


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    """The first run begins with nothing."""
    assert read_whole_lines(tmp_path / "rows.jsonl") == []
