"""``urgentmos simulate``: degrade clean speech in known ways."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from urgentmos.cli import EXIT_SOME_FAILED


def simulate(
    config: Annotated[
        str | None, typer.Argument(help="YAML file; without one, the default configuration.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to it: weights.opus=3 crops=2")
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for recordings, references and manifest."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of one thread each.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of all random choices.")] = 0,
    speech: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of clean speech; the parent folder of a file is its speaker."),
    ] = None,
    noise: Annotated[list[Path] | None, typer.Option(help="Folder of noise.")] = None,
    rir: Annotated[list[Path] | None, typer.Option(help="Folder of impulse responses.")] = None,
    recordings: Annotated[int | None, typer.Option(min=1, help="How many to make.")] = None,
    list_kinds: Annotated[
        bool, typer.Option("--list", help="Print the distortions, what each needs, and exit.")
    ] = False,
) -> None:
    """Make degraded speech with known kind and strength, aligned with its clean reference.

    A killed run goes on where it stopped when called again; what failed is tried again. The same
    seed gives the same recordings whatever the number of workers. Exit status 1 if a recording
    failed, 2 for wrong usage.
    """
    if list_kinds:
        typer.echo(_table_of_kinds())
        return
    if output is None:
        raise typer.BadParameter("expected --output (or --list)")

    from urgentmos.config import load_config
    from urgentmos.simulate.config import SimulationConfig
    from urgentmos.simulate.generator import generate

    changed = overrides or []
    if config is not None and "=" in config and not Path(config).exists():
        changed = [config, *changed]
        config = None
    settings = load_config(SimulationConfig, config, changed)
    folders = {"speech": speech, "noise": noise, "responses": rir}
    changes: dict[str, Any] = {k: [str(p) for p in v] for k, v in folders.items() if v}
    if recordings is not None:
        changes["num_recordings"] = recordings
    outcome = generate(
        replace(settings, **changes),
        output,
        seed=seed,
        workers=workers,
        progress=sys.stderr.isatty(),
    )
    typer.echo(
        f"{outcome.num_made} recordings in {outcome.manifest}, {outcome.num_for_validation} of "
        "them for validation",
        err=True,
    )
    for note in outcome.notes:
        typer.echo(note, err=True)
    for name, needs in outcome.skipped.items():
        typer.echo(f"left out: {name}, which needs {', '.join(needs)}", err=True)
    if outcome.failed:
        name, reason = next(iter(outcome.failed.items()))
        typer.echo(
            f"{len(outcome.failed)} failed, listed in {output / 'failed.jsonl'}; "
            f"the first, {name}: {reason}",
            err=True,
        )
        raise typer.Exit(EXIT_SOME_FAILED)


def _table_of_kinds() -> str:
    from urgentmos.simulate.kinds import DISTORTIONS
    from urgentmos.simulate.tools import missing_tools

    width = max(map(len, DISTORTIONS))
    lines = []
    for name, kind in DISTORTIONS.items():
        needs = [*kind.material, *kind.tools]
        missing = missing_tools(kind.tools)
        notes = ", ".join(needs) + (" — not installed" if missing else "")
        lines.append(f"{name:<{width}}  {notes}".rstrip())
    return "\n".join(lines)
