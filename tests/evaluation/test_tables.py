import csv
import json
import math
from pathlib import Path

import pytest

from urgentmos.evaluation.bootstrap import Difference, Interval
from urgentmos.evaluation.tables import Table, file_name, to_markdown, write_tables

TABLE = Table(
    "Ratings per file",
    percent=("acc",),
    rows=[
        {"name": "a", "srcc": Interval(0.5, 0.25, 0.75), "acc": 0.123, "n": 3},
        {"name": "b", "srcc": Interval(0.5, float("nan"), float("nan")), "acc": float("nan")},
        {"name": "c", "gain": Difference(-0.1, -0.2, 0.0, 0.0004)},
    ],
)


def test_markdown_shows_intervals_per_cent_and_undefined_numbers() -> None:
    lines = to_markdown(TABLE).splitlines()
    assert lines[2] == "| name | srcc | acc | n | gain |"
    assert lines[4] == "| a | 0.500 [0.250, 0.750] | 12.3 | 3 |  |"
    assert lines[5] == "| b | 0.500 | - |  |  |"
    assert lines[6] == "| c |  |  |  | -0.100 [-0.200, 0.000], p < 0.001 |"


def test_a_name_cannot_end_its_cell() -> None:
    table = Table(
        "t", rows=[{"a|b": "c|d\ne", "gain": Difference(0.1, math.nan, math.nan, math.nan)}]
    )
    lines = to_markdown(table).splitlines()
    assert lines[2] == r"| a\|b | gain |"
    assert lines[4:] == [r"| c\|d e | 0.100 |"]


def test_a_file_name_holds_letters_and_digits_only() -> None:
    assert file_name("ours/p835: FB") == "ours_p835_FB"
    assert TABLE.file_name == "ratings_per_file"


def test_tables_of_an_earlier_run_are_removed_and_no_other_file(tmp_path: Path) -> None:
    other = Table("Other", rows=[{"a": 1}])
    write_tables([TABLE, other, Table("Models", rows=[{"a": 1}])], tmp_path)
    copy = tmp_path / "ratings_of_monday.csv"
    copy.write_bytes((tmp_path / "ratings_per_file.csv").read_bytes())
    # Of the name that a table had, but none of it.
    (tmp_path / "models.csv").write_text("path,mos\na.wav,3\n")
    write_tables([other], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "models.csv", "other.csv", copy.name, "results.json", "results.md",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["", "[1]", '{"Other": 3}', '{"Other": [3]}', "\ud800"])
def test_results_of_another_program_list_no_table(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content, errors="surrogatepass")
    (tmp_path / "other.csv").write_text("a\n1\n")
    write_tables([TABLE], tmp_path)
    assert (tmp_path / "other.csv").exists()


def test_csv_and_json_hold_the_plain_numbers(tmp_path: Path) -> None:
    names = [path.name for path in write_tables([TABLE], tmp_path)]
    assert names == ["results.md", "results.json", "ratings_per_file.csv"]
    with (tmp_path / "ratings_per_file.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["srcc_low"] == "0.25"
    assert rows[1]["acc"] == ""
    assert float(rows[2]["gain_p"]) == 0.0004
    (records,) = json.loads((tmp_path / "results.json").read_text()).values()
    assert records[0]["acc"] == 0.123
    assert records[1]["srcc_low"] is None
