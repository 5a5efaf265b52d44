"""Score many short files with ``urgentmos score``: memory should stay flat, time grow linearly.

    python tools/score_many.py                        # 2,000, 20,000 and 100,000 files of a second
    python tools/score_many.py 500 5000 --seconds 0.5

The files are hard links to a few recordings, which are decoded and scored as often as there are
links. A line for every number of files: the time, also per file and per file more than in the line
above, which leaves out the start; and the peak memory of the process. Exit status 1 if that is more
than 64 MiB (``--most-growth``) larger with the most files than with the fewest.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16000
# Different recordings that the links lead to.
NUM_ORIGINALS = 10


def main() -> None:
    """Print a line per number of files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("counts", type=int, nargs="*", default=[2_000, 20_000, 100_000])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each file")
    parser.add_argument("--model", default="default", help="name, folder or Hub id")
    parser.add_argument("--suffix", choices=["csv", "jsonl", "parquet", "html"], default="csv")
    parser.add_argument("--most-growth", type=float, default=64.0, help="of peak memory, in MiB")
    options = parser.parse_args()
    peaks_mib = []
    print(f"{'files':>8}{'seconds':>10}{'ms per file':>13}{'ms per added':>14}{'peak MiB':>10}")
    before: tuple[int, float] | None = None
    for count in sorted(set(options.counts)):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "recordings"
            link_recordings(folder, count=count, seconds=options.seconds)
            output = Path(scratch) / f"scores.{options.suffix}"
            elapsed, peak_mib = run(folder, output, model=options.model)
        peaks_mib.append(peak_mib)
        added = ""
        if before is not None:
            added = f"{1000 * (elapsed - before[1]) / (count - before[0]):.2f}"
        before = count, elapsed
        each = 1000 * elapsed / count
        print(f"{count:>8}{elapsed:>10.1f}{each:>13.2f}{added:>14}{peak_mib:>10.0f}", flush=True)
    growth_mib = peaks_mib[-1] - peaks_mib[0]
    if growth_mib > options.most_growth:
        raise SystemExit(
            f"peak memory grew by {growth_mib:.0f} MiB, more than {options.most_growth:g}"
        )


def link_recordings(folder: Path, *, count: int, seconds: float) -> None:
    """Fill a folder with links to a few recordings of noise, a thousand in each folder below."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    originals = []
    for index in range(min(NUM_ORIGINALS, count)):
        original = folder / f"{index}.flac"
        noise = 0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE))
        soundfile.write(original, noise, SAMPLE_RATE)
        originals.append(original)
    for index in range(len(originals), count):
        inside = folder / f"{index // 1000:05d}"
        inside.mkdir(exist_ok=True)
        os.link(originals[index % len(originals)], inside / f"{index:07d}.flac")


def run(folder: Path, output: Path, *, model: str) -> tuple[float, float]:
    """Score a folder in a process of its own; returns its seconds and its peak memory in MiB."""
    entry = [sys.executable, "-c", "from urgentmos.cli import main; main()"]
    command = [*entry, "score", str(folder), "-o", str(output), "--model", model]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"urgentmos score ended with exit status {process.returncode}")
    return elapsed, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
