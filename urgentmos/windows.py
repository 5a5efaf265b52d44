"""Recordings of any length as windows that a model can hold, and their scores as one.

A recording of up to ``WINDOW_S`` is scored in one piece. A longer one is cut into windows of
``WINDOW_S`` that start every ``HOP_S``; the last one ends where the recording ends, and starts
earlier than its turn only where it would be shorter than ``SHORTEST_S``::

    |------ 0 ------|
                  |------ 1 ------|
                                |-- 2 --|
    |       a      |      b      |  c   |

Each moment belongs to one window: where two overlap, the middle of the overlap parts them. A score
is the mean over windows, each weighted by the time that belongs to it (a, b, c).
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from urgentmos.ndarray import NDArray

WINDOW_S = 16.0
"""Longest stretch of audio that is scored in one piece."""

HOP_S = 15.0
"""From the start of one window to the start of the next."""

SHORTEST_S = 8.0
"""Shortest window of a recording that has several."""

_Item = TypeVar("_Item")


class Stretch(NamedTuple):
    """Where a window lies in a recording.

    Attributes:
        start: Its first sample.
        end: The sample after its last.
        weight_s: Time that belongs to it; over a recording these add up to its duration.
    """

    start: int
    end: int
    weight_s: float


@dataclass(frozen=True)
class Window:
    """A stretch of a recording.

    Attributes:
        waveform: Samples, mono, at the model's rate.
        start_s: Where it starts in the recording.
        end_s: Where it ends.
        weight_s: Time that belongs to it; over a recording these add up to its duration.
    """

    waveform: NDArray[np.float32]
    start_s: float
    end_s: float
    weight_s: float


def plan_windows(num_samples: int, *, sample_rate: int) -> list[Stretch]:
    """List the windows of a recording whose length is known."""
    length, hop = round(WINDOW_S * sample_rate), round(HOP_S * sample_rate)
    full = range(0, num_samples - length, hop)
    last_start = _last_start(len(full) * hop, num_samples, sample_rate) if full else 0
    starts = [*full, last_start]
    partings = [_parting(start, later, length) for start, later in itertools.pairwise(starts)]
    owned = itertools.pairwise([0.0, *partings, float(num_samples)])
    return [
        Stretch(start, min(start + length, num_samples), (owned_to - owned_from) / sample_rate)
        for start, (owned_from, owned_to) in zip(starts, owned, strict=True)
    ]


def cut_windows(blocks: Iterable[NDArray[np.float32]], *, sample_rate: int) -> Iterator[Window]:
    """Cut a recording into windows while it is being decoded.

    At most two windows are held at a time, however long the recording.

    Args:
        blocks: Consecutive samples of the recording, in pieces of any length.
        sample_rate: Rate of the samples in Hz.
    """
    length, hop = round(WINDOW_S * sample_rate), round(HOP_S * sample_rate)
    start = 0
    waiting: NDArray[np.float32] | None = None
    owned_from = 0.0
    held = _Held()
    for block in blocks:
        held.append(block)
        # Strictly more: a window is only a regular one when something comes after it.
        while held.num_samples > length:
            if waiting is not None:
                yield _window(waiting, start - hop, owned_from, start, sample_rate)
                owned_from = _parting(start - hop, start, length)
            joined = held.join()
            waiting = joined[:length]
            held = _Held([joined[hop:]])
            start += hop
    rest = held.join()
    if waiting is None:
        yield _window(rest, 0, 0.0, None, sample_rate)
        return
    last_start = _last_start(start, start + len(rest), sample_rate)
    last = np.concatenate([waiting[:hop], rest])[last_start - start + hop :]
    yield _window(waiting, start - hop, owned_from, last_start, sample_rate)
    owned_from = _parting(start - hop, last_start, length)
    yield _window(last, last_start, owned_from, None, sample_rate)


def combine_scores(
    scores: Sequence[dict[str, float]], weights_s: Sequence[float]
) -> dict[str, float]:
    """Average the windows of one recording, each weighted by the time that belongs to it."""
    total = sum(weights_s)
    return {
        metric: sum(w * s[metric] for w, s in zip(weights_s, scores, strict=True)) / total
        for metric in scores[0]
    }


def in_step(windows: Iterable[_Item], *, num_windows: int, num_steps: int) -> Iterator[_Item]:
    """Go through windows in at least as many steps as there are, repeating some in place.

    Two recordings gone through in the same number of steps meet at like parts in time.

    Args:
        windows: The windows; the next is fetched when its step has come.
        num_windows: How many they are.
        num_steps: Steps wanted.
    """
    remaining = iter(windows)
    position = -1
    for step in range(num_steps):
        while position < step * num_windows // num_steps:
            window = next(remaining)
            position += 1
        yield window


def meet(a: Sequence[_Item], b: Sequence[_Item]) -> Iterator[tuple[_Item, _Item]]:
    """Go through the windows of two recordings side by side, so that like parts in time meet."""
    num_steps = max(len(a), len(b))
    return zip(
        in_step(a, num_windows=len(a), num_steps=num_steps),
        in_step(b, num_windows=len(b), num_steps=num_steps),
        strict=True,
    )


class _Held:
    """Samples that came in pieces; joined when a window is full, not at every piece."""

    def __init__(self, pieces: Iterable[NDArray[np.float32]] = ()) -> None:
        self._pieces = list(pieces)
        self.num_samples = sum(map(len, self._pieces))

    def append(self, piece: NDArray[np.float32]) -> None:
        self._pieces.append(piece)
        self.num_samples += len(piece)

    def join(self) -> NDArray[np.float32]:
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.float32)


def _last_start(turn: int, num_samples: int, sample_rate: int) -> int:
    return min(turn, num_samples - round(SHORTEST_S * sample_rate))


def _parting(start: int, next_start: int, length: int) -> float:
    return (next_start + start + length) / 2


def _window(
    waveform: NDArray[np.float32],
    start: int,
    owned_from: float,
    next_start: int | None,
    sample_rate: int,
) -> Window:
    end = start + len(waveform)
    owned_to = end if next_start is None else _parting(start, next_start, len(waveform))
    return Window(
        waveform=waveform,
        start_s=start / sample_rate,
        end_s=end / sample_rate,
        weight_s=(owned_to - owned_from) / sample_rate,
    )
