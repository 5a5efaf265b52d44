"""What distortions run beside this package, and which of it this machine lacks."""

import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

from urgentmos.simulate import amr_wb

PACKAGES = ("pyworld", "scipy")
"""Python packages among the tools: those of the extra ``simulate``."""

INSTALL = {
    **dict.fromkeys(PACKAGES, "Python packages with pip install 'urgentmos[simulate]'"),
    "ffmpeg": "ffmpeg",
    "sox": "sox with libsox-fmt-all",
    "espeak-ng": "espeak-ng",
    "flite": "flite",
    "text2wave": "festival and one of its voices",
    "libvo-amrwbenc": "libvo-amrwbenc0, and sox with libsox-fmt-all to decode",
}
TIMEOUT_S = 60


class MissingToolError(OSError):
    """A program, an encoder or a Python package is not installed."""


class ToolError(RuntimeError):
    """An external program failed on a recording."""


def missing_tools(tools: Iterable[str]) -> list[str]:
    """Return the tools that cannot be run here.

    Args:
        tools: Program names, ``ffmpeg/ENCODER``, ``sox/FORMAT``, ``libvo-amrwbenc`` or one of
            ``PACKAGES``.
    """
    return [tool for tool in tools if not _available(tool)]


def check_tools(tools: Iterable[str]) -> None:
    """Raise ``MissingToolError`` naming every tool that cannot be run and what brings it."""
    missing = missing_tools(tools)
    if missing:
        programs = sorted({INSTALL.get(tool.split("/")[0], tool) for tool in missing})
        raise MissingToolError(
            f"not available on this machine: {', '.join(missing)}; "
            f"install {', '.join(programs)}, or give this kind no weight"
        )


def run_tool(command: list[str], *, stdin: bytes = b"") -> bytes:
    """Run a program on bytes and return what it prints.

    Raises:
        MissingToolError: The program is not installed.
        ToolError: It failed; the message carries its own last line.
    """
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise MissingToolError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{command[0]} gave no answer within {TIMEOUT_S} s") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise ToolError(f"{' '.join(command)}: exit status {done.returncode}: {lines[-1]}")
    return done.stdout


@cache
def _available(tool: str) -> bool:
    if tool in PACKAGES:
        return find_spec(tool) is not None
    program, _, feature = tool.partition("/")
    if program == "libvo-amrwbenc":
        return amr_wb.available() and shutil.which("sox") is not None
    if shutil.which(program) is None:
        return False
    if not feature:
        return True
    if program == "ffmpeg":
        return feature in _ffmpeg_encoders()
    silence = ["sox", "-n", "-r", "16000", "-c", "1", "-t", feature, "-", "trim", "0", "0.1"]
    try:
        return len(run_tool(silence)) > 0
    except ToolError:
        return False


@cache
def _ffmpeg_encoders() -> frozenset[str]:
    lines = run_tool(["ffmpeg", "-hide_banner", "-loglevel", "error", "-encoders"]).decode()
    return frozenset(line.split()[1] for line in lines.splitlines() if len(line.split()) > 1)
