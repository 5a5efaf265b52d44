from pathlib import Path

import pytest

from urgentmos.report.parquet import as_written, read_parquet, write_parquet
from urgentmos.report.row_file import OutputError, Record


def test_parquet_has_the_types_of_the_columns_and_is_read_back(
    tmp_path: Path, columns: dict[str, type], records: list[Record]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    path = tmp_path / "rows.parquet"
    write_parquet(path, columns, records)
    table = parquet.read_table(path)
    assert [str(kind) for kind in table.schema.types] == [
        "string", "string", "string", "double", "int64", "string", "double",
    ]  # fmt: skip
    assert table["mos"].to_pylist() == [record["mos"] for record in records]
    assert table["path"].to_pylist()[5] == "not \\xff unicode.wav"
    written = [{**record, "path": as_written(str(record["path"]))} for record in records]
    assert list(read_parquet(path, columns)) == written
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["empty", "cut", "page"])
def test_a_damaged_file_is_told_in_words(
    tmp_path: Path, columns: dict[str, type], records: list[Record], damage: str
) -> None:
    pytest.importorskip("pyarrow", exc_type=ImportError)
    path = tmp_path / "rows.parquet"
    write_parquet(path, columns, records)
    whole = path.read_bytes()
    half = len(whole) // 2
    page = whole[:4] + b"\xff" * 200 + whole[204:]
    path.write_bytes({"empty": b"", "cut": whole[:half], "page": page}[damage])
    with pytest.raises(OutputError, match=r"rows\.parquet' cannot be read back: .*--overwrite"):
        list(read_parquet(path, columns))


def test_columns_in_another_order_are_other_columns(
    tmp_path: Path, columns: dict[str, type], records: list[Record]
) -> None:
    pytest.importorskip("pyarrow", exc_type=ImportError)
    path = tmp_path / "rows.parquet"
    write_parquet(path, columns, records)
    turned = dict(reversed(columns.items()))
    with pytest.raises(OutputError, match="other columns than this run"):
        list(read_parquet(path, turned))
