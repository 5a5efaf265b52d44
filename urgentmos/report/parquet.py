"""Rows to Parquet and back."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from urgentmos.extras import require
from urgentmos.report.row_file import Columns, OutputError, Record, Value
from urgentmos.report.whole_report import whole_report

_ROWS_PER_GROUP = 10_000


def write_parquet(path: Path, columns: Columns, records: Iterable[Record]) -> None:
    """Write records to a Parquet file, which appears complete or not at all.

    Names of files that are not valid Unicode are written with backslash escapes.

    Args:
        path: File to write; replaced where it exists.
        columns: Columns, with the type of their values.
        records: Rows.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = require("pyarrow", extra="parquet")
    parquet = require("pyarrow.parquet", extra="parquet")
    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(column, kinds[kind]) for column, kind in columns.items()])
    rows = iter(records)
    with whole_report(path) as unfinished, parquet.ParquetWriter(unfinished, schema) as writer:
        while group := list(itertools.islice(rows, _ROWS_PER_GROUP)):
            values = {column: [_writable(row[column]) for row in group] for column in columns}
            writer.write_table(pyarrow.Table.from_pydict(values, schema=schema))


def read_parquet(path: Path, columns: Columns) -> Iterator[dict[str, Value]]:
    """Read back what ``write_parquet`` wrote.

    Args:
        path: File.
        columns: Columns it must have, with the type of their values.

    Raises:
        OutputError: The columns differ, or the file is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = require("pyarrow", extra="parquet")
    parquet = require("pyarrow.parquet", extra="parquet")
    try:
        with parquet.ParquetFile(path) as file:
            if file.schema_arrow.names != list(columns):
                raise OutputError(
                    f"{str(path)!r} has other columns than this run: resume with the same metrics, "
                    "or start again with --overwrite"
                )
            for batch in file.iter_batches(_ROWS_PER_GROUP):
                yield from batch.to_pylist()
    # Damaged pages are an OSError there, damaged names no Unicode.
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        # Several lines, some with bytes of the file.
        reason = "".join(each if each.isprintable() else " " for each in str(error)).strip()
        raise OutputError(
            f"{str(path)!r} cannot be read back: {reason}; start again with --overwrite"
        ) from error


def as_written(text: str) -> str:
    """Give a text as it stands in Parquet, which holds valid Unicode alone."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _writable(value: Value) -> Value:
    return as_written(value) if isinstance(value, str) else value
