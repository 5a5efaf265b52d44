from urgentmos.cli import stdout_rows


def test_names_that_break_a_line_are_escaped_for_a_person() -> None:
    assert stdout_rows.printable("a\nb\x1b[31m\udcff音.wav") == "a\\nb\\x1b[31m\\udcff音.wav"
