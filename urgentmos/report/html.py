"""Rows as one self-contained page with a table that sorts on a click."""

import html
from collections.abc import Iterable
from pathlib import Path

from urgentmos.report.row_file import Columns, Record, Value
from urgentmos.report.whole_report import whole_report

_HEAD = """<!doctype html>
<meta charset="utf-8">
<title>urgentmos</title>
<style>
body { font: 14px system-ui, sans-serif; margin: 1.5em; }
table { border-collapse: collapse; }
th { cursor: pointer; position: sticky; top: 0; background: #eee; text-align: left; }
th, td { padding: .25em .6em; border-bottom: 1px solid #ddd; white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.failed { background: #fde8e8; }
</style>
<table>
"""
_FOOT = """</table>
<script>
document.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
  const body = document.querySelector("tbody");
  const key = row => row.cells[column].textContent;
  const order = head.dataset.order = head.dataset.order === "1" ? "-1" : "1";
  const compare = (a, b) => key(a).localeCompare(key(b), undefined, {numeric: true});
  const number = (a, b) => parseFloat(key(a) || "-Infinity") - parseFloat(key(b) || "-Infinity");
  [...body.rows].sort((a, b) => order * (head.className ? number : compare)(a, b))
    .forEach(row => body.append(row));
}));
</script>
"""


def write_html(path: Path, columns: Columns, records: Iterable[Record]) -> None:
    """Write records as a page, which appears complete or not at all.

    Names of files that are not valid Unicode are written with backslash escapes.

    Args:
        path: File to write; replaced where it exists.
        columns: Columns, with the type of their values; ``status`` is among them.
        records: Rows.
    """
    with (
        whole_report(path) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.write(_HEAD + "<thead><tr>")
        file.writelines(_cell("th", column, kind) for column, kind in columns.items())
        file.write("</tr></thead>\n<tbody>\n")
        for record in records:
            file.write(f'<tr class="{html.escape(str(record["status"]))}">')
            file.writelines(_cell("td", record[name], kind) for name, kind in columns.items())
            file.write("</tr>\n")
        file.write("</tbody>\n" + _FOOT)


def _cell(tag: str, value: Value, kind: type) -> str:
    text = "" if value is None else html.escape(str(value))
    return f"<{tag}>{text}</{tag}>" if kind is str else f'<{tag} class="number">{text}</{tag}>'
