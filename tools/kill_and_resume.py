"""Kill ``urgentmos score`` at random moments, resume it, and compare with an uninterrupted run.

Run it with ``python tools/kill_and_resume.py``; about two minutes with the default model. Exit
status 1 and a message when a row is lost, comes twice, differs, or a failed one is not retried.

Two of the recordings are bad: one for good, whose row must say so in the end, and one that is
mended before the run is resumed for the last time, which must then be scored.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from urgentmos.metrics import METRICS

SAMPLE_RATE = 16000
# Share of a metric's range by which two runs may differ.
TOLERANCE = 1e-4
ALWAYS_BAD, MENDED = "bad.wav", "mended.flac"


class ResumeError(Exception):
    """A resumed run is not what an uninterrupted run would have been."""


def main() -> int:
    """Kill and resume until the wanted number of kills is reached; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--suffix", choices=["csv", "jsonl"], default="csv")
    parser.add_argument("--model", default="default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        recordings = Path(scratch) / "recordings"
        make_recordings(recordings, num_files=options.files, rng=rng)
        command = score_command(recordings, model=options.model)
        whole = Path(scratch) / f"whole.{options.suffix}"
        start = time.perf_counter()
        run(command, whole)
        duration_s = time.perf_counter() - start
        print(f"uninterrupted: {options.files} recordings in {duration_s:.1f} s")
        expected = read_rows(whole)
        kills = trials = 0
        while kills < options.kills:
            trials += 1
            output = Path(scratch) / f"trial{trials}.{options.suffix}"
            shutil.copy(recordings / ALWAYS_BAD, recordings / MENDED)
            kills += kill_until_done(
                command, output, max_kills=options.kills - kills, within_s=duration_s, rng=rng
            )
            write_noise(recordings / MENDED, seconds=1.0, rng=np.random.default_rng(1))
            run(command, output)
            try:
                check_rows(read_rows(output), expected)
            except ResumeError as error:
                print(f"trial {trials}: {error}")
                return 1
            print(f"trial {trials}: the same rows after {kills} kills in all")
    print(f"{kills} kills, {trials} runs finished: no row lost, none twice, none changed")
    return 0


def make_recordings(folder: Path, *, num_files: int, rng: np.random.Generator) -> None:
    """Write noise of one to three seconds, and the two bad files, the second of them mended."""
    folder.mkdir()
    for index in range(num_files - 2):
        write_noise(folder / f"{index:04d}.flac", seconds=rng.uniform(1, 3), rng=rng)
    (folder / ALWAYS_BAD).write_text("not audio\n")
    write_noise(folder / MENDED, seconds=1.0, rng=np.random.default_rng(1))


def write_noise(path: Path, *, seconds: float, rng: np.random.Generator) -> None:
    """Write noise whose level rises and falls."""
    samples = round(seconds * SAMPLE_RATE)
    level = 0.05 * (1.1 + np.sin(np.arange(samples) / 1500))
    soundfile.write(path, level * rng.standard_normal(samples), SAMPLE_RATE)


def score_command(recordings: Path, *, model: str) -> list[str]:
    """Build the command line, without the output."""
    entry = [sys.executable, "-c", "from urgentmos.cli import main; main()"]
    return [*entry, "score", str(recordings), "--model", model]


def run(command: Sequence[str], output: Path) -> None:
    """Run to the end, resuming where there is something to resume."""
    words = [*command, "-o", str(output), *(["--resume"] if output.exists() else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 1:
        raise RuntimeError(
            f"exit status {done.returncode}, expected 1 for the bad file:\n{done.stderr}"
        )


def kill_until_done(
    command: Sequence[str],
    output: Path,
    *,
    max_kills: int,
    within_s: float,
    rng: np.random.Generator,
) -> int:
    """Start, kill at a random moment and resume, until a run finishes; returns the kills."""
    for kills in range(max_kills):
        words = [*command, "-o", str(output), *(["--resume"] if output.exists() else [])]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=rng.uniform(0, within_s))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        else:
            return kills
    return max_kills


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a finished output, every value as text."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    lines = path.read_text(encoding="utf-8").splitlines()
    return [{key: str(value) for key, value in json.loads(line).items()} for line in lines]


def check_rows(rows: Sequence[dict[str, str]], expected: Sequence[dict[str, str]]) -> None:
    """Compare two outputs.

    Raises:
        ResumeError: They differ; the message says where.
    """
    paths, expected_paths = ([row["path"] for row in each] for each in (rows, expected))
    if paths != expected_paths:
        lost, added = set(expected_paths) - set(paths), set(paths) - set(expected_paths)
        raise ResumeError(
            f"{len(paths)} rows of {len(set(paths))} recordings, expected {len(expected_paths)}; "
            f"lost {sorted(lost)[:5]}, not asked for {sorted(added)[:5]}, or in another order"
        )
    for row, wanted in zip(rows, expected, strict=True):
        for column, value in wanted.items():
            if not _same(row[column], value, column):
                raise ResumeError(f"{row['path']}: {column} is {row[column]!r}, expected {value!r}")


def _same(value: str, expected: str, column: str) -> bool:
    if value == expected or column not in METRICS:
        return value == expected
    return abs(float(value) - float(expected)) <= TOLERANCE * METRICS[column].scale


if __name__ == "__main__":
    sys.exit(main())
