"""``urgentmos import-checkpoint``: a public checkpoint to a model folder."""

from pathlib import Path
from typing import Annotated

import typer


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
) -> None:
    """Turn a public UrgentMOS checkpoint into a model that every command takes."""
    from urgentmos.model.import_checkpoint import import_checkpoint as read

    config = read(source, output, trained_after_fix=trained_after_fix, encoder=encoder)
    families = ", ".join(encoder.family for encoder in config.encoders)
    typer.echo(f"{output}: {', '.join(config.metrics)} from {families}")
