"""Time and memory of a predictor that is already running."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from clips import ClipSet
from own_process import forget_peak, peak_mib, quickest, run_alone
from predictors import NISQA_MAX_S, PREDICTORS

# A longer clip is not scored once more for warming up.
_LONGEST_WARM_UP_S = 60.0


def measure_predictor(
    name: str,
    sets: Sequence[ClipSet],
    *,
    model: str,
    workers: int | None,
    threads: int,
    repeats: int,
) -> dict[str, Any]:
    """Time one predictor in a fresh process.

    Returns:
        ``times``: for each set the wall and CPU seconds per second of audio and the peak memory in
        MiB; or ``error``.
    """
    result: dict[str, Any] = run_alone(
        _measure,
        threads=threads,
        name=name,
        sets=sets,
        model=model,
        workers=workers,
        repeats=repeats,
    )
    if "error" in result:
        print(f"{name} is not available: {result['error']}", file=sys.stderr)
    return result


def _measure(
    *, name: str, sets: Sequence[ClipSet], model: str, workers: int | None, repeats: int
) -> dict[str, Any]:
    score = PREDICTORS[name](model, workers)
    times = {}
    for clips in sets:
        if name == "nisqa" and clips.length_s > NISQA_MAX_S:
            continue
        forget_peak()
        if clips.length_s <= _LONGEST_WARM_UP_S:
            score(clips.paths[:1])
        wall, cpu = quickest(partial(score, clips.paths), repeats=repeats)
        times[clips.title] = {
            "wall": wall / clips.seconds,
            "cpu": cpu / clips.seconds,
            "peak_mib": peak_mib(),
        }
    return {"times": times}
