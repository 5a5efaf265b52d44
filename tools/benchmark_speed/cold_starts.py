"""Commands from nothing."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clips import make_clips

_TIMES = 3


def cold_starts(scratch: Path, *, model: str) -> dict[str, float]:
    """Time commands in fresh processes: the best of three, in seconds."""
    folder = scratch / "cold"
    folder.mkdir()
    make_clips(folder, length_s=5.0, sample_rate=16000, total_s=500.0)
    python = [sys.executable]
    command = [*python, "-c", "from urgentmos.cli import main; main()"]
    output = str(scratch / "scores.csv")
    score = [*command, "score", str(folder), "-o", output, "--overwrite", "--model", model]
    commands = {
        "python -c pass": [*python, "-c", "pass"],
        "import urgentmos": [*python, "-c", "import urgentmos"],
        "urgentmos --help": [*command, "--help"],
        "urgentmos score, 100 files of 5 s": score,
    }
    return {name: min(_elapsed(words) for _ in range(_TIMES)) for name, words in commands.items()}


def _elapsed(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start
