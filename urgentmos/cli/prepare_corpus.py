"""The command line of every ``recipes/<corpus>/prepare.py``."""

from pathlib import Path
from typing import Annotated

import typer

from urgentmos.cli import EXIT_SOME_FAILED
from urgentmos.data.corpora.preparation import compare_counts
from urgentmos.data.corpora.preparation import prepare as prepare_recipe
from urgentmos.data.corpora.recipe import Recipe


def run(recipe: Recipe) -> None:
    """Prepare a corpus from the command line: ``prepare.py FOLDER -o OUTPUT``."""

    def prepare(
        folder: Annotated[Path, typer.Argument(help="The corpus as its owners distribute it.")],
        output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the manifests.")],
    ) -> None:
        """Write manifests; exit status 1 if anything could not be used, which is then named."""
        if not folder.is_dir():
            raise typer.BadParameter(f"no folder {folder}")
        prepared = prepare_recipe(recipe, folder, output)
        for line in compare_counts(recipe, prepared.counts):
            typer.echo(line)
        for line in prepared.problems.lines():
            typer.echo(f"not used: {line}", err=True)
        if prepared.problems.counts or not prepared.counts:
            raise typer.Exit(EXIT_SOME_FAILED)

    typer.run(prepare)
