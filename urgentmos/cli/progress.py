"""The progress bar on stderr, where there is a terminal, and what is told before and after."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import typer

from urgentmos.cli.stdout_rows import printable
from urgentmos.terminal_size import bar_size

Item = TypeVar("Item")

_LISTED = 20


def track(items: Iterable[Item], *, total: int, rows_on_stdout: bool) -> Iterator[Item]:
    """Show how many of the items are done.

    Args:
        items: What is gone through.
        total: How many there are.
        rows_on_stdout: Whether rows are written there: on a terminal they show the progress.
    """
    from tqdm import tqdm

    hidden = not sys.stderr.isatty() or (rows_on_stdout and sys.stdout.isatty())
    size = bar_size()
    with tqdm(total=total, unit="file", disable=hidden, dynamic_ncols=not size, **size) as bar:
        for item in items:
            bar.update()
            yield item


def tell_left_out(paths: Iterable[Path]) -> None:
    """Print to stderr which files in folders cannot be read here, if there are any."""
    from urgentmos.audio_folders import tell_undecoded

    left_out = tell_undecoded(paths)
    if left_out is not None:
        typer.echo(left_out, err=True)


class Failures:
    """What failed: the first ones by name, all by number."""

    def __init__(self) -> None:
        self.count = 0
        self._listed: list[str] = []

    def add(self, name: str, reason: str) -> None:
        """Take in a failure."""
        self.count += 1
        if self.count <= _LISTED:
            self._listed.append(f"  {printable(name)}: {reason}")

    def tell(self, num_inputs: int) -> None:
        """Print the failures to stderr, if there are any."""
        if self.count == 0:
            return
        more = self.count - len(self._listed)
        lines = [f"{self.count} of {num_inputs} failed:", *self._listed]
        typer.echo("\n".join(lines + ([f"  and {more} more"] if more else [])), err=True)
