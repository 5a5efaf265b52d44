"""``urgentmos score``: recordings to rows."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from urgentmos.cli import EXIT_SOME_FAILED
from urgentmos.cli.input_paths import gather_paths
from urgentmos.cli.model_options import (
    DecodersOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    load_assessor,
    split_metrics,
)
from urgentmos.cli.output_options import (
    FormatOption,
    OutputOption,
    OverwriteOption,
    check_format,
    open_rows,
    tell_kept,
    write_mode,
)
from urgentmos.cli.progress import Failures, tell_left_out, track
from urgentmos.cli.stdout_rows import StdoutRows

if TYPE_CHECKING:
    from urgentmos.report.output import RowOutput, WriteMode
    from urgentmos.report.row_file import Record
    from urgentmos.report.timeline import TimelineFile
    from urgentmos.scoring.row import Row


def score(
    paths: Annotated[
        list[Path] | None,
        # One that may not be read gets its row, and does not stop the run.
        typer.Argument(
            help="Files, folders (searched recursively), manifests (.jsonl).", readable=False
        ),
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(help="A list of such paths, one per line; - reads it from stdin."),
    ] = None,
    output: OutputOption = None,
    model: ModelOption = "default",
    metrics: Annotated[
        str | None, typer.Option(help="Comma-separated; all that the model predicts otherwise.")
    ] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "float32",
    batch_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=86400,
            help="Most padded audio in a batch, in seconds; 60 on a processor and 400 on a GPU "
            "otherwise.",
        ),
    ] = None,
    workers: DecodersOption = 2,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the output's scored rows, do the others.")
    ] = False,
    overwrite: OverwriteOption = False,
    timeline: Annotated[
        Path | None, typer.Option(help="Scores over time, a row per window: .csv or .jsonl.")
    ] = None,
    stdout_format: FormatOption = None,
) -> None:
    """Score recordings: one row per file, in order, as they are done.

    Of a manifest, the recordings that its lines name as audio_path are scored, each once.
    Rows go to the output or to stdout; progress, a summary per metric and the failures to stderr.
    The exit status is 0 when all were scored, 1 when some failed, 2 when the command was wrong.
    """
    from urgentmos.audio_folders import find_audio
    from urgentmos.metrics import check_metrics
    from urgentmos.report.summary import ScoreSummary
    from urgentmos.scoring import score_files
    from urgentmos.scoring.row import row_columns

    mode = write_mode(output, resume=resume, overwrite=overwrite, beside=timeline)
    if timeline is not None:
        _check_timeline(timeline, output, mode)
    check_format(output, stdout_format)
    given = gather_paths(paths or [], files_from, outputs=[output, timeline])
    inputs = [str(path) for path in find_audio(given)]
    tell_left_out(given)
    assessor = load_assessor(model, device, precision)
    asked = split_metrics(metrics)
    names = check_metrics(asked or assessor.metrics, assessor.metrics)
    # Whatever the order of the model's metrics, MOS is the one to see first.
    table = sorted(names, key=lambda name: name != "mos")
    summary, failures = ScoreSummary(names), Failures()
    opened = open_rows(
        output,
        columns=row_columns(names),
        key=("path",),
        inputs=inputs,
        mode=mode,
        assessor=assessor,
        stdout_format=stdout_format,
        # What was asked for by name is shown, however narrow the terminal.
        numbers=[table] if asked else [[name] for name in table],
        names=("path",),
    )
    with opened as file, _open_timeline(timeline, names, mode, file) as times:
        tell_kept(file)
        rows = score_files(
            assessor,
            file.missing,
            metrics=names,
            batch_seconds=batch_seconds,
            workers=workers,
        )
        written = file.merge(_records(rows, names, times))
        for record in track(written, total=len(inputs), rows_on_stdout=output is None):
            summary.add(record)
            if record["status"] != "ok":
                failures.add(str(record["path"]), str(record["error"]))
    if summary.metrics():
        typer.echo(summary.table(), err=True)
    failures.tell(len(inputs))
    if failures.count:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_timeline(timeline: Path, output: Path | None, mode: "WriteMode") -> None:
    """Refuse a timeline before there is an output that it would leave empty."""
    from urgentmos.report.row_file import OutputError, check_place, streamed_format

    streamed_format(timeline)
    if output is not None and os.path.realpath(timeline) == os.path.realpath(output):
        raise typer.BadParameter("--timeline and --output name the same file")
    if mode == "new" and timeline.exists():
        raise OutputError(
            f"{str(timeline)!r} exists: replace it with --overwrite, or write to another file"
        )
    check_place(timeline)


def _open_timeline(
    path: Path | None,
    metrics: Sequence[str],
    mode: "WriteMode",
    rows: "RowOutput[str] | StdoutRows[str]",
) -> "AbstractContextManager[TimelineFile | None]":
    if path is None:
        return nullcontext()
    from urgentmos.report.timeline import TimelineFile
    from urgentmos.scoring.row import timeline_columns

    return TimelineFile(
        path,
        columns=timeline_columns(metrics),
        mode=mode,
        scored=rows.scored,
    )


def _records(
    rows: "Iterator[Row]", metrics: Sequence[str], timeline: "TimelineFile | None"
) -> "Iterator[Record]":
    for row in rows:
        if timeline:
            timeline.write(row.timeline_records(metrics))
        yield row.to_record(metrics)
