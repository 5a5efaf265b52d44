"""``urgentmos import-checkpoint``: a public checkpoint to a model folder."""

import os
from pathlib import Path
from typing import Annotated

import typer

from urgentmos.cli.output_options import OverwriteOption


def import_checkpoint(
    source: Annotated[
        str, typer.Argument(help="Local model.pt, or owner/name on the Hugging Face Hub.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to write.")],
    *,
    trained_after_fix: Annotated[
        bool,
        typer.Option(
            "--trained-after-fix",
            help="The local checkpoint was trained after the layer sum was corrected (2026-06-24).",
        ),
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(help="Read the encoder's configuration from this folder or Hub name."),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Turn a public UrgentMOS checkpoint into a model that every command takes."""
    from urgentmos.model.import_checkpoint import import_checkpoint as read

    if not overwrite:
        _check_output(output)
    config = read(source, output, trained_after_fix=trained_after_fix, encoder=encoder)
    families = ", ".join(encoder.family for encoder in config.encoders)
    typer.echo(f"{output}: {', '.join(config.metrics)} from {families}")


def _check_output(output: Path) -> None:
    from urgentmos.model.checkpoint import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
    from urgentmos.report.row_file import OutputError

    if any(os.path.lexists(output / name) for name in (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)):
        raise OutputError(
            f"{str(output)!r} holds a model already: replace it with --overwrite, or write to "
            "another folder"
        )
