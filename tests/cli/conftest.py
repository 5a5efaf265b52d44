import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from urgentmos.cli import build_app

Speech = Callable[..., np.ndarray]
Invoke = Callable[..., Result]
Spawn = Callable[..., subprocess.Popen[bytes]]

_ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process."""

    def run(command: str, *args: object) -> Result:
        # A child's error messages are compared, not their layout for a terminal.
        runner = CliRunner(env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"})
        return runner.invoke(build_app([command]), [command, *map(str, args)])

    return run


# The process signals itself before a given row is written: no race with the test. Tests that run in
# the background of a shell inherit an ignored SIGINT, which would stop nothing.
_SIGNALLED = """
import os
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from urgentmos.cli import main, stdout_rows
from urgentmos.report import row_file
encode, rows = row_file.encode_record, iter(range(1_000_000))
def encode_record(*args):
    if next(rows) == {row}:
        os.kill(os.getpid(), {signal})
    return encode(*args)
row_file.encode_record = stdout_rows.encode_record = encode_record
main()
"""


@pytest.fixture
def spawn() -> Spawn:
    """Start a command in a process of its own, which signals itself before one of its rows."""

    def start(*args: object, signum: int, row: int) -> subprocess.Popen[bytes]:
        code = _SIGNALLED.format(row=row, signal=int(signum))
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


@pytest.fixture
def recordings(tmp_path: Path, speech: Speech) -> Path:
    """A folder of thirty recordings, one of which cannot be read."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    waveform = speech(3.0, seed=1)
    for item in range(30):
        soundfile.write(folder / f"{item:02}.wav", waveform[: 8000 + 1000 * item], 16000)
    (folder / "03.wav").write_text("this is not audio")
    return folder
