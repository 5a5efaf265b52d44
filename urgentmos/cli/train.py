"""``urgentmos train``: from one configuration file to a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from urgentmos.cli import EXIT_SOME_FAILED

if TYPE_CHECKING:
    from urgentmos.training.config import RunConfig


def train(
    config: Annotated[Path, typer.Argument(help="Run configuration (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to it: optimizer.lr=1e-4 steps=2000")
    ] = None,
    *,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the run folder's last checkpoint; begin without one."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Describe the model and stop; reads no data.")
    ] = False,
) -> None:
    """Train a model from manifests.

    The models are `best` and `final` in the run folder, which the configuration names as `output`.
    In several processes: `torchrun --nproc-per-node 2 -m urgentmos train CONFIG`, or
    `accelerate launch -m urgentmos train CONFIG`. Exit status 1 if training had to stop, 2 for
    wrong usage.
    """
    from urgentmos.config import load_config
    from urgentmos.training.config import RunConfig
    from urgentmos.training.description import describe

    run = load_config(RunConfig, config, overrides or [])
    if dry_run:
        typer.echo(describe(run))
        return
    from urgentmos.training.trainer import Trainer, TrainingError

    try:
        trainer = Trainer(run, resume=resume)
        if resume and trainer.begins_anew and trainer.is_main:
            typer.echo(f"nothing was saved in {run.output} yet: begins anew", err=True)
        if trainer.started_from is not None and trainer.is_main:
            typer.echo(str(trainer.started_from), err=True)
        if trainer.changes and trainer.is_main:
            changes = "; ".join(trainer.changes)
            typer.echo(f"resumed with other settings than it began with: {changes}", err=True)
        state = trainer.train()
    except TrainingError as error:
        typer.echo(f"urgentmos: {error}", err=True)
        raise typer.Exit(EXIT_SOME_FAILED) from error
    trainer.close()
    if not trainer.is_main:
        return
    if state.step < run.steps:
        typer.echo(f"stopped at step {state.step} of {run.steps}; --resume goes on")
    else:
        typer.echo(_models_of(run))


def _models_of(run: "RunConfig") -> str:
    if (Path(run.output) / "best").exists():
        return f"{run.output}/best and {run.output}/final hold the models"
    return (
        f"{run.output}/final holds the model; there is no best one, since {run.best_by} was no "
        "number in any validation"
    )
