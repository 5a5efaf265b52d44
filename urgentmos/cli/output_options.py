"""What ``--output``, ``--resume``, ``--overwrite`` and ``--format`` ask for."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from urgentmos.cli.stdout_rows import StdoutFormat, StdoutRows

if TYPE_CHECKING:
    from urgentmos.model.assessor import Assessor
    from urgentmos.report.output import RowOutput, WriteMode
    from urgentmos.report.row_file import Columns, Key

OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Rows: .csv, .jsonl, .parquet or .html. Else stdout."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an output that exists.")
]
FormatOption = Annotated[
    StdoutFormat | None,
    typer.Option("--format", help="Rows on stdout; a table on a terminal, CSV otherwise."),
]


def write_mode(
    output: Path | None, *, resume: bool, overwrite: bool, beside: Path | None = None
) -> "WriteMode":
    """Tell what is to happen to an output that exists.

    Args:
        output: Rows, or None for stdout.
        resume: ``--resume`` was given.
        overwrite: ``--overwrite`` was given.
        beside: Another file that can be replaced, where the command writes one.

    Raises:
        BadParameter: The options contradict each other, or lack a file.
    """
    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    if resume and output is None:
        raise typer.BadParameter("--resume needs --output: the file to go on with")
    if overwrite and output is None and beside is None:
        raise typer.BadParameter("--overwrite needs --output: the file to replace")
    return "resume" if resume else "overwrite" if overwrite else "new"


def check_format(output: Path | None, stdout_format: StdoutFormat | None) -> None:
    """Refuse a format of stdout where nothing goes there."""
    if output is not None and stdout_format is not None:
        raise typer.BadParameter("--format is for rows on stdout; --output has its suffix's format")


@contextlib.contextmanager
def open_rows(
    output: Path | None,
    *,
    columns: "Columns",
    key: Sequence[str],
    inputs: "Sequence[Key]",
    mode: "WriteMode",
    assessor: "Assessor",
    stdout_format: StdoutFormat | None,
    numbers: Sequence[Sequence[str]],
    names: Sequence[str],
) -> "Iterator[RowOutput[Key] | StdoutRows[Key]]":
    """Open where the rows of a run go; tell what a stopped run leaves.

    Args:
        output: File, or None for stdout.
        columns: Columns, with the type of their values.
        key: Columns that say what a row is about.
        inputs: What the rows will be about, in order.
        mode: What happens to a file that exists.
        assessor: Model that the rows will come from.
        stdout_format: Of rows on stdout, see ``StdoutRows``.
        numbers: Columns of a table on stdout, the same.
        names: Text columns of a table on stdout, the same.

    Raises:
        OutputError: The file cannot be written so, see ``RowOutput``.
        FileLockedError: Another run is writing it.
    """
    if output is None:
        yield StdoutRows(
            columns=columns,
            inputs=inputs,
            stdout_format=stdout_format,
            numbers=numbers,
            names=names,
        )
        return
    from urgentmos.report.output import RowOutput
    from urgentmos.scoring.provenance import model_id

    rows = RowOutput(
        output, columns=columns, key=key, inputs=inputs, model=model_id(assessor), mode=mode
    )
    try:
        with rows:
            yield rows
    except BaseException:
        if rows.num_written:
            told = f"{rows.num_written} rows are in {str(rows.rows_path)!r}; --resume goes on"
            typer.echo(told, err=True)
        raise


def tell_kept(rows: "RowOutput[Key] | StdoutRows[Key]") -> None:
    """Tell what a resumed run keeps, once nothing refuses it any more."""
    if rows.num_kept:
        typer.echo(f"resuming: {rows.num_kept} rows kept, {len(rows.missing)} to do", err=True)
