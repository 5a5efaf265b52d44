"""``urgentmos score``: recordings to rows."""

import codecs
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from urgentmos.cli import EXIT_SOME_FAILED
from urgentmos.cli.model_options import load_assessor, split_metrics
from urgentmos.cli.output_options import check_format, open_output, write_mode
from urgentmos.cli.progress import Failures, tell_left_out, track
from urgentmos.cli.stdout_rows import StdoutFormat, write_rows
from urgentmos.precision import Precision

if TYPE_CHECKING:
    from urgentmos.report.output import RowOutput, WriteMode
    from urgentmos.report.row_file import Record
    from urgentmos.report.timeline import TimelineFile
    from urgentmos.scoring.row import Row

_MANIFEST = ".jsonl"


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
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Rows: .csv, .jsonl, .parquet or .html. Else stdout."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A shipped model's name, a folder, or a Hub id owner/name.")
    ] = "default",
    metrics: Annotated[
        str | None, typer.Option(help="Comma-separated; all that the model predicts otherwise.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 …; a GPU if there is one otherwise.")
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="bfloat16: faster where the hardware has it; moves scores by up to 2 %."),
    ] = "float32",
    batch_seconds: Annotated[
        float | None,
        typer.Option(min=0.001, max=86400, help="Most padded audio in a batch, in seconds."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Threads that decode ahead of the model.")
    ] = 2,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the output's scored rows, do the others.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an output that exists.")
    ] = False,
    timeline: Annotated[
        Path | None, typer.Option(help="Scores over time, a row per window: .csv or .jsonl.")
    ] = None,
    stdout_format: Annotated[
        StdoutFormat | None,
        typer.Option("--format", help="Rows on stdout; a table on a terminal, CSV otherwise."),
    ] = None,
) -> None:
    """Score recordings: one row per file, in order, as they are done.

    Of a manifest, the recordings that its lines name as audio_path are scored, each once.
    Rows go to the output or to stdout; progress, a summary per metric and the failures to stderr.
    The exit status is 0 when all were scored, 1 when some failed, 2 when the command was wrong.
    """
    from urgentmos.audio import find_audio
    from urgentmos.metrics import check_metrics
    from urgentmos.report.summary import ScoreSummary
    from urgentmos.scoring import score_files
    from urgentmos.scoring.row import row_columns

    mode = write_mode(output, resume=resume, overwrite=overwrite, beside=timeline)
    if timeline is not None:
        _check_timeline(timeline, output, mode)
    check_format(output, stdout_format)
    _check_not_an_input([*(paths or []), files_from], [output, timeline])
    given = _given(paths or [], files_from)
    inputs = [str(path) for path in find_audio(given)]
    tell_left_out(given)
    assessor = load_assessor(model, device, precision)
    names = check_metrics(split_metrics(metrics) or assessor.metrics, assessor.metrics)
    columns = row_columns(names)
    summary, failures = ScoreSummary(names), Failures()
    with ExitStack() as stack:
        file = open_output(
            stack,
            output,
            columns=columns,
            key=("path",),
            inputs=inputs,
            mode=mode,
            assessor=assessor,
        )
        times = _open_timeline(stack, timeline, names, mode, file)
        rows = score_files(
            assessor,
            file.missing if file else inputs,
            metrics=names,
            batch_seconds=batch_seconds,
            workers=workers,
        )
        records = _records(rows, names, times)
        if file:
            written = file.merge(records)
        else:
            written = write_rows(records, columns, stdout_format=stdout_format, numbers=names)
        for record in track(written, total=len(inputs), rows_on_stdout=file is None):
            summary.add(record)
            if record["status"] != "ok":
                failures.add(str(record["path"]), str(record["error"]))
    if summary.metrics():
        typer.echo(summary.table(), err=True)
    failures.tell(len(inputs))
    if failures.count:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_not_an_input(inputs: Sequence[Path | None], outputs: Sequence[Path | None]) -> None:
    # Not path.resolve(), which raises where links go in circles.
    read = {os.path.realpath(path) for path in inputs if path is not None}
    for path in outputs:
        if path is not None and os.path.realpath(path) in read:
            raise typer.BadParameter(f"{str(path)!r} is what is to be scored; name another output")


def _given(paths: Sequence[Path], files_from: Path | None) -> list[Path]:
    given = [*paths, *(_listed(files_from) if files_from is not None else ())]
    if not given and files_from is not None:
        raise typer.BadParameter(f"--files-from: {str(files_from)!r} lists no path")
    if not given:
        raise typer.BadParameter("expected files or folders, or --files-from with a list of them")
    return list(_without_manifests(given))


def _listed(files_from: Path) -> list[Path]:
    if files_from.suffix.lower() == _MANIFEST:
        return [files_from]
    content = sys.stdin.buffer.read() if str(files_from) == "-" else files_from.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # Its bytes would be taken for names of single characters, and a lone "/" for a folder.
        raise typer.BadParameter(
            f"--files-from: {str(files_from)!r} is UTF-16, as older PowerShells write it: "
            "save it as UTF-8"
        )
    # Editors put a byte order mark in front.
    content = content.removeprefix(codecs.BOM_UTF8)
    # `find -print0` ends names with NUL, since they may hold line breaks.
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    names = [name for name in (content.split(b"\0") if b"\0" in content else lines) if name]
    if names and _is_json(names[0]):
        raise typer.BadParameter(
            "--files-from: expected a path on each line, got JSON; "
            f"a manifest is a file that ends in {_MANIFEST}"
        )
    return [Path(os.fsdecode(name)) for name in names]


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _without_manifests(paths: Iterable[Path]) -> Iterator[Path]:
    """Put the recordings that a manifest names in its place."""
    from urgentmos.data.manifest import read_audio_paths

    for path in paths:
        # One that is not there gets its row, as any file.
        if path.suffix.lower() != _MANIFEST or not os.path.isfile(path):
            yield path
            continue
        recordings = list(read_audio_paths(path))
        if not recordings:
            raise typer.BadParameter(f"the manifest {str(path)!r} names no recording")
        yield from recordings


def _check_timeline(timeline: Path, output: Path | None, mode: "WriteMode") -> None:
    """Refuse a timeline before there is an output that it would leave empty."""
    from urgentmos.report.row_file import OutputError, streamed_format

    streamed_format(timeline)
    if output is not None and os.path.realpath(timeline) == os.path.realpath(output):
        raise typer.BadParameter("--timeline and --output name the same file")
    if mode == "new" and timeline.exists():
        raise OutputError(
            f"{str(timeline)!r} exists: replace it with --overwrite, or write to another file"
        )


def _open_timeline(
    stack: ExitStack,
    path: Path | None,
    metrics: Sequence[str],
    mode: "WriteMode",
    file: "RowOutput[str] | None",
) -> "TimelineFile | None":
    if path is None:
        return None
    from urgentmos.report.timeline import TimelineFile
    from urgentmos.scoring.row import timeline_columns

    return stack.enter_context(
        TimelineFile(
            path,
            columns=timeline_columns(metrics),
            mode=mode,
            has_row=file.has_row if file else lambda _: False,
            num_rows=file.num_kept if file else 0,
        )
    )


def _records(
    rows: "Iterator[Row]", metrics: Sequence[str], timeline: "TimelineFile | None"
) -> "Iterator[Record]":
    for row in rows:
        if timeline:
            timeline.write(row.timeline_records(metrics))
        yield row.to_record(metrics)
