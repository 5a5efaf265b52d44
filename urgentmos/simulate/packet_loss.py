"""Lost packets: random or in bursts, left silent or concealed."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from urgentmos.ndarray import NDArray
from urgentmos.simulate.distortion import (
    SAMPLE_RATE,
    DistortionKind,
    Params,
    Waveform,
    between_ratio,
)
from urgentmos.simulate.sources import Sources

MIN_PERIOD, MAX_PERIOD = SAMPLE_RATE // 400, SAMPLE_RATE // 60
JOIN_SAMPLES = SAMPLE_RATE // 400
CONCEALMENTS = ("zero", "repeat", "pitch")


def _sample(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    frame_ms = float(rng.choice([10.0, 20.0, 40.0]))
    return {
        "loss_rate": between_ratio(0.01, 0.45, strength),
        "mean_burst": float(rng.choice([1.0, 2.0, 4.0])),
        "frame_ms": frame_ms,
        "concealment": CONCEALMENTS[rng.integers(len(CONCEALMENTS))],
        "fade": float(rng.uniform(0.3, 0.9)),
    }


def lost_frames(
    num_frames: int, *, loss_rate: float, mean_burst: float, rng: np.random.Generator
) -> Bool[NDArray[Any], " frames"]:
    """Draw which frames are lost, by a two-state Gilbert model.

    Args:
        num_frames: Frames sent.
        loss_rate: Share of frames lost in the long run.
        mean_burst: Frames lost in a row, on average; 1 draws each frame on its own.
        rng: One uniform number is drawn for each frame.
    """
    draws = rng.uniform(size=num_frames)
    if mean_burst == 1.0:
        return draws < loss_rate
    stay = 1 - 1 / mean_burst
    enter = loss_rate * (1 - stay) / (1 - loss_rate)
    lost = np.zeros(num_frames, dtype=bool)
    for index, draw in enumerate(draws):
        lost[index] = draw < (stay if index > 0 and lost[index - 1] else enter)
    return lost


def _apply(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    frame = int(params["frame_ms"] * SAMPLE_RATE / 1000)
    num_frames = -(-len(waveform) // frame)
    lost = lost_frames(
        num_frames, loss_rate=params["loss_rate"], mean_burst=params["mean_burst"], rng=rng
    )
    result = np.array(waveform, dtype=np.float32)
    for index in range(num_frames):
        start = index * frame
        end = min(start + frame, len(result))
        if not lost[index]:
            if index > 0 and lost[index - 1] and params["concealment"] == "pitch":
                _join(result, start, concealed=_continued(result, start, JOIN_SAMPLES))
            continue
        # What is copied of a lost frame is already faded: one fade more for each frame.
        concealed = _concealed(result, start, end, params["concealment"])
        result[start:end] = np.float32(params["fade"]) * concealed
    return result


def _concealed(history: Waveform, start: int, end: int, concealment: str) -> Waveform:
    length = end - start
    if concealment == "repeat" and start >= length:
        return history[start - length : start]
    if concealment == "pitch" and start >= 2 * MAX_PERIOD:
        return _continued(history, start, length)
    return np.zeros(length, dtype=np.float32)


def _continued(history: Waveform, start: int, length: int) -> Waveform:
    """Go on with the last pitch period, found by autocorrelation of what came before."""
    if start < 2 * MAX_PERIOD:
        return np.zeros(length, dtype=np.float32)
    past = history[start - 2 * MAX_PERIOD : start].astype(np.float64)
    recent = past[-MAX_PERIOD:]
    windows = np.lib.stride_tricks.sliding_window_view(past, MAX_PERIOD)
    score = windows @ recent / (np.linalg.norm(windows, axis=1) + 1e-9)
    # Window k starts MAX_PERIOD - k samples before the recent stretch.
    period = MAX_PERIOD - int(np.argmax(score[: MAX_PERIOD - MIN_PERIOD + 1]))
    repeats = -(-length // period)
    return np.tile(history[start - period : start], repeats)[:length]


def _join(result: Waveform, start: int, *, concealed: Waveform) -> None:
    length = min(len(concealed), len(result) - start)
    rising = np.linspace(0, 1, length, dtype=np.float32)
    stretch = result[start : start + length]
    stretch[:] = rising * stretch + (1 - rising) * concealed[:length]


PACKET_LOSS = DistortionKind(_sample, _apply, stage=6)
