"""``urgentmos train``: from one configuration file to a model."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(help="Run configuration (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to it: optimizer.lr=1e-4 steps=2000")
    ] = None,
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Describe the model and stop; reads no data.")
    ] = False,
) -> None:
    """Train a model from manifests."""
    from urgentmos.config import ConfigError, load_config
    from urgentmos.data.manifest import ManifestError
    from urgentmos.extras import MissingExtraError
    from urgentmos.training.config import RunConfig
    from urgentmos.training.description import describe
    from urgentmos.training.run_state import RunStateError
    from urgentmos.training.trainer import Trainer, TrainingError

    try:
        run = load_config(RunConfig, config, overrides or [])
        if dry_run:
            typer.echo(describe(run))
            return
        trainer = Trainer(run, resume=resume)
        trainer.train()
    except (ConfigError, ManifestError, RunStateError, FileNotFoundError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except (MissingExtraError, TrainingError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{run.output}/best and {run.output}/final hold the models")
