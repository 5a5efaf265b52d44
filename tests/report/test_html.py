from pathlib import Path

import pytest

from urgentmos.report.html import write_html
from urgentmos.report.row_file import Record


def test_a_page_holds_every_row_and_no_markup_from_names(
    tmp_path: Path, columns: dict[str, type], records: list[Record]
) -> None:
    path = tmp_path / "rows.html"
    write_html(path, columns, [*records, {**records[0], "path": "<script>alert(1)</script>.wav"}])
    page = path.read_text(encoding="utf-8")
    assert page.count("<tr ") == len(records) + 1
    assert page.count('<tr class="failed">') == 1
    assert "None" not in page, "what is missing is an empty cell"
    assert page.count('<td class="number"></td>') == 3
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
    assert "not \\udcff unicode.wav" in page
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_is_stopped_half_way_does_not_appear(
    tmp_path: Path, columns: dict[str, type], records: list[Record]
) -> None:
    with pytest.raises(KeyError):
        write_html(tmp_path / "rows.html", columns, [records[0], {"path": "b.wav"}])
    assert not list(tmp_path.iterdir())
