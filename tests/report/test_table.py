from urgentmos.report.table import format_table


def test_words_start_and_numbers_end_in_line() -> None:
    table = format_table(["name", "n"], [["a", "1"], ["longer", "100"], ["b", ""]])
    assert table.splitlines() == ["name      n", "a         1", "longer  100", "b"]


def test_a_table_without_rows_is_its_header() -> None:
    assert format_table(["name", "n"], []) == "name  n"
