"""How far do labels move with what nobody can hear, and how high can an LCC with them be for it?

``python recipes/default/label_jitter.py MANIFEST --labels dnsmos,distill_mos``. Each recording is
labelled as it is, without its first milliseconds, and at other levels. The table has, for each
label and version, the root mean square change, and the LCC that the label without this jitter would
have with the label. A model that hears neither cannot be above it. For labels that need no
reference.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE, read_audio
from urgentmos.data.manifest import read_manifest
from urgentmos.labels.catalogue import LABELLERS
from urgentmos.ndarray import NDArray

Version = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def cut(duration_ms: float) -> Version:
    """Leave out the first milliseconds."""
    return lambda waveform: waveform[round(duration_ms * SAMPLE_RATE / 1000) :]


def amplified(gain_db: float) -> Version:
    """Play louder or softer, clipped as a converter would."""
    factor = np.float32(10 ** (gain_db / 20))
    return lambda waveform: np.clip(factor * waveform, -1, 1)


VERSIONS: dict[str, Version] = {
    "2.5 ms cut": cut(2.5),
    "5 ms cut": cut(5),
    "10 ms cut": cut(10),
    "+3 dB": amplified(3),
    "-3 dB": amplified(-3),
    "-6 dB": amplified(-6),
}


def highest_lcc(labels: NDArray[np.float64], moved: NDArray[np.float64]) -> float:
    """Give the LCC of a label with what is left of it without jitter.

    Two versions of a recording differ by two draws of the jitter, whose variance is half of that of
    the difference.

    Args:
        labels: Of recordings as they are, (recordings,).
        moved: Of another version of each.
    """
    jitter = np.mean((moved - labels) ** 2) / 2
    return float(np.sqrt(max(0.0, 1 - jitter / np.var(labels))))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, help="recordings")
    parser.add_argument("--labels", default="dnsmos,distill_mos", help="tools of urgentmos label")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--recordings", type=int, default=60, help="drawn at random")
    arguments = parser.parse_args()

    rows = [r for r in read_manifest(arguments.manifest) if r.meta.get("split") == arguments.split]
    random.Random(0).shuffle(rows)
    rows = rows[: arguments.recordings]
    print("| label | version | moves by | highest LCC |\n|---|---|---|---|")
    for name in arguments.labels.split(","):
        tool = LABELLERS[name].build("float32")
        found = np.zeros((1 + len(VERSIONS), len(rows), len(tool.metrics)))
        for place, row in enumerate(tqdm(rows, desc=name)):
            waveform = read_audio(row.audio_path).waveform
            versions = [waveform, *(version(waveform) for version in VERSIONS.values())]
            for number, version in enumerate(versions):
                given = tool.label(version, None)
                found[number, place] = [given[metric] for metric in tool.metrics]
        for column, metric in enumerate(tool.metrics):
            labels = found[0, :, column]
            for version_name, moved in zip(VERSIONS, found[1:, :, column], strict=True):
                change = np.sqrt(np.mean((moved - labels) ** 2))
                highest = highest_lcc(labels, moved)
                print(f"| {metric} | {version_name} | {change:.3f} | {highest:.3f} |", flush=True)


if __name__ == "__main__":
    main()
