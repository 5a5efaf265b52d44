from pathlib import Path

import pytest

from urgentmos.cli.output_options import open_rows
from urgentmos.cli.stdout_rows import StdoutRows
from urgentmos.model.assessor import Assessor
from urgentmos.report.output import RowOutput
from urgentmos.report.row_file import Record
from urgentmos.scoring.provenance import model_id

COLUMNS: dict[str, type] = {"path": str, "status": str, "error": str, "model": str, "mos": float}


@pytest.mark.parametrize("name", ["rows.csv", None], ids=["file", "stdout"])
def test_rows_go_to_a_file_or_to_stdout_in_one_way(
    name: str | None, tiny_assessor: Assessor, tmp_path: Path, capfdbinary: pytest.CaptureFixture
) -> None:
    output = None if name is None else tmp_path / name
    records: list[Record] = [
        {"path": path, "status": "ok", "error": "", "model": model_id(tiny_assessor), "mos": 3.5}
        for path in ("a.wav", "b.wav")
    ]
    opened = open_rows(
        output,
        columns=COLUMNS,
        key=("path",),
        inputs=["a.wav", "b.wav"],
        mode="new",
        assessor=tiny_assessor,
        stdout_format="csv",
        numbers=[["mos"]],
        names=["path"],
    )
    with opened as rows:
        assert isinstance(rows, StdoutRows if output is None else RowOutput)
        assert rows.missing == ["a.wav", "b.wav"]
        assert (rows.num_kept, rows.scored) == (0, frozenset())
        assert list(rows.merge(iter(records))) == records
    written = capfdbinary.readouterr().out if output is None else output.read_bytes()
    assert [line.split(b",")[0] for line in written.splitlines()] == [b"path", b"a.wav", b"b.wav"]
