"""What ``--output``, ``--resume``, ``--overwrite`` and ``--format`` ask for."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from urgentmos.cli.stdout_rows import StdoutFormat

if TYPE_CHECKING:
    from urgentmos.model.assessor import Assessor
    from urgentmos.report.kept_rows import Key
    from urgentmos.report.output import RowOutput, WriteMode
    from urgentmos.report.row_file import Columns


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


def open_output(
    stack: ExitStack,
    path: Path | None,
    *,
    columns: "Columns",
    key: Sequence[str],
    inputs: "Sequence[Key]",
    mode: "WriteMode",
    assessor: "Assessor",
) -> "RowOutput[Key] | None":
    """Open the output until the stack ends, and tell what a resumed run keeps.

    Returns:
        None where rows go to stdout.
    """
    if path is None:
        return None
    from urgentmos.report.output import RowOutput
    from urgentmos.scoring.provenance import model_id

    file = RowOutput(
        path, columns=columns, key=key, inputs=inputs, model=model_id(assessor), mode=mode
    )
    if file.num_kept:
        typer.echo(f"resuming: {file.num_kept} rows kept, {len(file.missing)} to do", err=True)
    return stack.enter_context(file)
