"""The command line: one file per command, each imported when it is called."""

import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from urgentmos import __version__

COMMANDS = {
    "score": "urgentmos.cli.score:score",
    "compare": "urgentmos.cli.compare:compare",
    "metrics": "urgentmos.cli.metrics:metrics",
    "label": "urgentmos.cli.label:label",
    "simulate": "urgentmos.cli.simulate:simulate",
    "pairs": "urgentmos.cli.pairs:pairs",
    "train": "urgentmos.cli.train:train",
    "evaluate": "urgentmos.cli.evaluate:evaluate",
    "import-checkpoint": "urgentmos.cli.import_checkpoint:import_checkpoint",
}
"""Command name to ``module:function``. The modules import heavy packages inside the functions."""

EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main() -> None:
    """Run the command line; the exit status is 0, 1 (some inputs failed), 2 (usage) or 130."""
    _prepare_streams()
    _prepare_threads()
    called = [name for name in sys.argv[1:2] if name in COMMANDS]
    build_app(called or COMMANDS)()


def _prepare_streams() -> None:
    """Keep closed streams and file names that cannot be encoded from stopping a run."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # At once, since the next file opened takes the stream's number, and its messages.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _prepare_threads() -> None:
    """Let threads that wait for each other give up the processor soon; torch is loaded after this.

    GNU's OpenMP, which torch brings on Linux, has them spin for milliseconds. Two runs on the same
    cores then spin in each other's way. So short a spin costs a run alone nothing that can be
    measured, and two at once take 8 s in place of 13 for 150 files each (two cores).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def build_app(names: Iterable[str]) -> typer.Typer:
    """Assemble the application from some of the commands.

    Args:
        names: Keys of ``COMMANDS``; only their modules are imported.
    """
    app = typer.Typer(
        name="urgentmos",
        cls=_Commands,
        help="Speech quality without a reference: score, compare, label, train, evaluate.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options_of_every_command)
    for name in names:
        module, function = COMMANDS[name].split(":")
        app.command(name)(getattr(importlib.import_module(module), function))
    return app


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"urgentmos {__version__}")
        raise typer.Exit
    return wanted


def _options_of_every_command(
    # Eager: it is answered before a command is missed.
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Hold what can be asked without a command."""


class _Commands(TyperGroup):
    """The commands, what they print about themselves, and the version."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read what stands before a command's name; ``--help`` and ``--version`` are answered."""
        with _exit_status():
            return super().make_context(*args, **kwargs)

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        """Read a command's options and run it."""
        with _exit_status():
            return super().invoke(*args, **kwargs)


@contextlib.contextmanager
def _exit_status() -> Iterator[None]:
    """Turn what stops a command into a message and an exit status.

    Errors of this package and of the operating system are told in one line; anything else is a
    defect and keeps its traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        typer.echo("interrupted; what was written so far is kept", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt
    except BrokenPipeError as error:
        # The interpreter flushes stdout once more at exit: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo("stopped: the reader of the output closed it", err=True)
        raise typer.Exit(EXIT_SOME_FAILED) from error
    except OSError as error:
        from urgentmos.report.row_file import NO_ROOM

        typer.echo(f"urgentmos: {_in_words(error)}", err=True)
        disk_failed = error.errno in {*NO_ROOM, errno.EIO}
        raise typer.Exit(EXIT_SOME_FAILED if disk_failed else EXIT_USAGE) from error
    except (ValueError, ImportError) as error:
        if not type(error).__module__.startswith("urgentmos."):
            raise
        typer.echo(f"urgentmos: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from error


def _in_words(error: OSError) -> str:
    # Without the number that the operating system gives it.
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"
