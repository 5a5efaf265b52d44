"""Measure how scores respond to changes of a recording, and to bfloat16.

    python tools/measure_responses.py                       # the demo's recordings, a minute
    python tools/measure_responses.py my/recordings --metrics mos,pesq
    python tools/measure_responses.py --model runs/mine/model

Every recording is changed in one way and scored again. Two tables: the mean change over the
recordings in each metric's unit; and the largest change of any recording in percent of the metric's
range. The last row of both is the spread of the unchanged recordings' scores, for scale.

- gain: by so many dB in floating point, nothing clipped;
- gain, 16 bit: the same, then rounded to 16 bits and clipped at full scale, as a file would be;
- clipped: at so many dB below the recording's peak;
- silence: digital silence before or after;
- room: noise 60 dB below the recording's level before and after, as of a quiet room;
- polarity: every sample times -1, which nobody can hear;
- cut: without its first 5 ms, so that all frames lie half a frame later;
- in halves: cut in two, each half scored as a recording of its own, the mean of both;
- bfloat16: the recording as it is, scored with ``precision="bfloat16"``.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

import urgentmos
from urgentmos.audio import SAMPLE_RATE, read_audio
from urgentmos.audio_folders import find_audio
from urgentmos.metrics import UnknownMetricError, check_metrics
from urgentmos.model.assessor import Assessor
from urgentmos.ndarray import NDArray

Waveform = NDArray[np.float32]
Change = Callable[[Waveform], Waveform]

DEMO = Path(__file__).parents[1] / "recipes" / "demo" / "recordings"
GAINS_DB = (-40, -30, -20, -10, 10, 20)
CLIPPED_DB = (1, 3, 6, 10, 15, 20)
SILENCES_S = (0.5, 1, 2, 5)
ROOM_DB = -60


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", default=[DEMO], help="files and folders")
    parser.add_argument("--model", default="default", help="name, folder or Hub id")
    parser.add_argument("--metrics", help="comma-separated; all otherwise")
    options = parser.parse_args()
    assessor: Assessor = urgentmos.load(options.model)
    wanted = assessor.metrics
    if options.metrics is not None:
        wanted = [name.strip() for name in options.metrics.split(",")]
    try:
        metrics = check_metrics(wanted, assessor.metrics)
    except UnknownMetricError as error:
        parser.error(str(error))
    recordings = [read_audio(path).waveform for path in find_audio(options.paths)]
    ranges = np.array([urgentmos.METRICS[metric].scale for metric in metrics])
    unchanged = score(assessor, recordings, metrics)
    means, shares = {}, {}
    for name, change in changes().items():
        changed = score(assessor, [change(waveform) for waveform in recordings], metrics)
        means[name] = (changed - unchanged).mean(axis=0)
        shares[name] = 100 * (np.abs(changed - unchanged) / ranges).max(axis=0)
    in_halves = (
        score(assessor, [waveform[: len(waveform) // 2] for waveform in recordings], metrics)
        + score(assessor, [waveform[len(waveform) // 2 :] for waveform in recordings], metrics)
    ) / 2
    halved = score(urgentmos.load(options.model, precision="bfloat16"), recordings, metrics)
    for name, changed in (("in halves", in_halves), ("bfloat16", halved)):
        means[name] = (changed - unchanged).mean(axis=0)
        shares[name] = 100 * (np.abs(changed - unchanged) / ranges).max(axis=0)
    spread = np.ptp(unchanged, axis=0)
    print_table("Mean change, in the metric's unit", means | {"(spread)": spread}, metrics)
    shares |= {"(spread)": 100 * spread / ranges}
    print_table("\nLargest change, in percent of the metric's range", shares, metrics)


def changes() -> dict[str, Change]:
    """Give every change by its name."""
    return {
        **{f"gain {db:+d} dB": partial(amplified, db=db) for db in GAINS_DB},
        **{f"gain {db:+d} dB, 16 bit": partial(stored, db=db) for db in GAINS_DB},
        **{f"clipped at -{db} dB": partial(clipped, db=db) for db in CLIPPED_DB},
        **{f"silence, {s:g} s before": partial(padded, before_s=s) for s in SILENCES_S},
        **{f"silence, {s:g} s after": partial(padded, after_s=s) for s in SILENCES_S},
        **{f"room, {s:g} s around": partial(in_room, seconds=s) for s in SILENCES_S},
        "polarity": np.negative,
        "cut, 5 ms": lambda waveform: waveform[SAMPLE_RATE // 200 :],
    }


def amplified(waveform: Waveform, *, db: float) -> Waveform:
    """Change the level."""
    return waveform * np.float32(10 ** (db / 20))


def stored(waveform: Waveform, *, db: float) -> Waveform:
    """Change the level and store the result in 16 bits."""
    return (np.round(amplified(waveform, db=db) * 32768).clip(-32768, 32767) / 32768).astype(
        np.float32
    )


def clipped(waveform: Waveform, *, db: float) -> Waveform:
    """Clip at so many dB below the peak."""
    limit = np.abs(waveform).max() * np.float32(10 ** (-db / 20))
    return waveform.clip(-limit, limit)


def padded(waveform: Waveform, *, before_s: float = 0.0, after_s: float = 0.0) -> Waveform:
    """Add digital silence."""
    return np.pad(waveform, [round(seconds * SAMPLE_RATE) for seconds in (before_s, after_s)])


def in_room(waveform: Waveform, *, seconds: float) -> Waveform:
    """Add noise far below the recording's level at both ends."""
    num_samples = round(seconds * SAMPLE_RATE)
    level = np.sqrt(np.mean(waveform**2)) * 10 ** (ROOM_DB / 20)
    noise = level * np.random.default_rng(0).standard_normal((2, num_samples))
    return np.concatenate([noise[0], waveform, noise[1]]).astype(np.float32)


def score(
    assessor: Assessor, recordings: Sequence[Waveform], metrics: Sequence[str]
) -> NDArray[np.float64]:
    """Score recordings, each alone: ``(recordings, metrics)``."""
    each = [assessor.score(waveform, SAMPLE_RATE, metrics=metrics) for waveform in recordings]
    return np.array([[float(scores[metric]) for metric in metrics] for scores in each])


def print_table(title: str, rows: dict[str, NDArray[np.float64]], metrics: Sequence[str]) -> None:
    """Print a row per change and a column per metric."""
    width = max(map(len, rows))
    print(title)
    print(" " * width + "".join(f"{metric:>13}" for metric in metrics))
    for name, values in rows.items():
        print(f"{name:<{width}}" + "".join(f"{value:>13.3f}" for value in values))


if __name__ == "__main__":
    main()
