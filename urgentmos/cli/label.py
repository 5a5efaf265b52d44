"""``urgentmos label``: add labels of other tools to a manifest."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from urgentmos.cli import EXIT_SOME_FAILED
from urgentmos.data.manifest import Recording
from urgentmos.precision import Precision

if TYPE_CHECKING:
    from urgentmos.labels.catalogue import LabelTool
    from urgentmos.labels.summary import LabelSummary

_NAMED = 8
"""Systems that a message names."""


def label(
    manifest: Annotated[
        Path | None, typer.Argument(help="Recordings, one JSON object per line.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Manifest to write (.jsonl), with labels.")
    ] = None,
    labels: Annotated[str, typer.Option(help="Labels, separated by commas; see --list.")] = "",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes of one thread each; 0: this process.")
    ] = 1,
    share: Annotated[
        list[str] | None,
        typer.Option(help="LABEL=SHARE: label only this share of the recordings, as dnsmos=0.2."),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="Of Distill-MOS; bfloat16 is twice as fast and within 0.01."),
    ] = "float32",
    where: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE: label only recordings with this in meta, as split=train."),
    ] = None,
    list_labels: Annotated[
        bool, typer.Option("--list", help="Print the labels, what each needs, and exit.")
    ] = False,
) -> None:
    """Label recordings with PESQ, ESTOI, DNSMOS, Distill-MOS and others.

    A recording names its reference in meta.reference_path. The two begin together and may differ by
    0.1 s at the end, which is cut; beyond that only labels that need no alignment have a value.
    A sample is checked, and systems whose recordings begin later or earlier are named.

    A killed run goes on where it stopped when called again; what failed is tried again. Exit status
    1 if a label failed on some recording (having no reference is no failure), 2 for wrong usage.
    """
    if list_labels:
        typer.echo(_table_of_labels())
        return
    if manifest is None or output is None or not labels:
        raise typer.BadParameter("expected MANIFEST, --output and --labels (or --list)")
    if output.suffix.lower() != ".jsonl":
        raise typer.BadParameter(
            f"--output: a manifest holds JSON lines: end {str(output)!r} in .jsonl"
        )

    from urgentmos.labels.runner import label_manifest

    summary = label_manifest(
        manifest,
        output,
        labels=[name.strip() for name in labels.split(",")],
        workers=workers,
        shares={name: _share(value) for name, value in _settings(share, "--share")},
        precision=precision,
        where=_filter(_settings(where, "--where")),
        progress=sys.stderr.isatty(),
    )
    typer.echo(_table_of_counts(summary))
    counts = summary.labelled.items()
    if any(count == 0 and summary.without_reference(metric) for metric, count in counts):
        typer.echo("a recording names its clean reference in meta.reference_path", err=True)
    if any(summary.late_s.values()):
        typer.echo(_told_late(summary.late_s), err=True)
    if any(map(summary.failures, summary.labelled)):
        raise typer.Exit(EXIT_SOME_FAILED)


def _settings(options: list[str] | None, name: str) -> list[tuple[str, str]]:
    pairs = []
    for option in options or []:
        key, equals, value = option.partition("=")
        if not key or not equals or not value:
            raise typer.BadParameter(f"{name}: expected KEY=VALUE, got {option!r}")
        pairs.append((key, value))
    return pairs


def _share(value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise typer.BadParameter(f"--share: expected a number, got {value!r}") from error


def _filter(settings: list[tuple[str, str]]) -> Callable[[Recording], bool]:
    return lambda recording: all(str(recording.meta.get(key)) == value for key, value in settings)


def _told_late(late_s: Mapping[str, float]) -> str:
    late = [item for item in late_s.items() if item[1]]
    systems = sorted(late, key=lambda item: -abs(item[1]))
    named = ", ".join(f"{system} {1000 * seconds:+.0f} ms" for system, seconds in systems[:_NAMED])
    more = f" and {len(systems) - _NAMED} more" if len(systems) > _NAMED else ""
    return (
        f"recordings that begin later (+) or earlier than their references: {named}{more}. Labels "
        "that compare them moment by moment, as ESTOI and SDR, mean little there: shift the "
        "recordings and label them again"
    )


def _table_of_labels() -> str:
    from urgentmos.labels.catalogue import LABELLERS
    from urgentmos.report.table import format_table

    rows = [
        [
            name,
            " ".join(tool.metrics),
            _needs(tool),
            "yes" if tool.installed else f"no: {tool.install}",
            "fetched once" if tool.downloads else "",
        ]
        for name, tool in LABELLERS.items()
    ]
    return format_table(["label", "gives", "needs", "installed", "network"], rows)


def _needs(tool: "LabelTool") -> str:
    if not tool.needs_reference:
        return ""
    return "aligned reference" if tool.aligned else "reference"


def _table_of_counts(summary: "LabelSummary") -> str:
    from urgentmos.report.table import format_table

    rows = []
    for metric, count in summary.labelled.items():
        failures = summary.failures(metric)
        without = summary.without_reference(metric)
        most = next(iter(failures), "")
        rows.append([metric, str(count), str(without), str(sum(failures.values())), most])
    header = ["label", "recordings", "no reference", "failed", "most common failure"]
    return format_table(header, rows)
