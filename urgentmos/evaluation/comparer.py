"""The preference head of a model, asked about many pairs."""

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from urgentmos.evaluation.pair_sets import PairSet
from urgentmos.evaluation.preference import (
    Preferences,
    order_consistency,
    preferences_from_probabilities,
)
from urgentmos.masks import lengths_to_mask
from urgentmos.model.assessor import Assessor
from urgentmos.ndarray import NDArray
from urgentmos.scoring.recording import Recording
from urgentmos.windows import meet

# The head costs little beside the encoders: enough of them to keep it busy, of 16 s each.
_MEETINGS_PER_BATCH = 16
# Bound on the frames held in memory; those of the recordings used longest ago go first.
_FRAMES_KEPT_BYTES = 2 << 30


class Compared(NamedTuple):
    """What a preference head says about some pairs.

    Attributes:
        preferences: Both orders of each pair averaged, as `Assessor.compare` does.
        one_order: Each pair as it is given, without the swapped one.
        consistency: Share of pairs whose verdict in one order mirrors when the pair is swapped.
    """

    preferences: Preferences
    one_order: Preferences
    consistency: float


class PreferenceComparer:
    """The preference head of a model on many pairs.

    Each recording goes through the encoders once, as long as its frames stay in memory; only the
    head runs per pair, in both orders, on the same windows as in `compare_files`.
    """

    def __init__(self, assessor: Assessor) -> None:
        """Take a model.

        Raises:
            ValueError: It has no preference head.
        """
        if assessor.network.preference is None:
            raise ValueError("this model has no preference head, so it cannot compare recordings")
        self._assessor = assessor
        self._frames = _FrameCache(assessor)

    def probabilities(
        self, pairs: PairSet
    ) -> tuple[Float[NDArray[np.float64], "pairs 3"], Float[NDArray[np.float64], "pairs 3"]]:
        """Compare each pair as (A, B) and as (B, A), each in that order only.

        Returns:
            Probabilities of first better, tie, second better for (A, B) and for (B, A); NaN where a
            recording cannot be read.
        """
        forward = np.full((len(pairs.pairs), 3), np.nan)
        backward, paths = forward.copy(), pairs.paths
        meetings = (
            meeting
            for row, (a, b) in enumerate(pairs.pairs)
            for meeting in self._meetings(row, paths[a], paths[b])
        )
        while batch := list(itertools.islice(meetings, _MEETINGS_PER_BATCH)):
            rows = [meeting.row for meeting in batch]
            shares = np.array([[meeting.share] for meeting in batch])
            a = _pad([meeting.a for meeting in batch])
            b = _pad([meeting.b for meeting in batch])
            for averaged, first, second in ((forward, a, b), (backward, b, a)):
                averaged[rows] = np.nan_to_num(averaged[rows], nan=0.0)
                np.add.at(averaged, rows, shares * self._compare(*first, *second))
        return forward, backward

    def prefer(self, pairs: PairSet) -> Compared:
        """Compare the pairs of a set."""
        forward, backward = self.probabilities(pairs)
        one_order = preferences_from_probabilities(forward)
        swapped = preferences_from_probabilities(backward)
        return Compared(
            preferences=preferences_from_probabilities((forward + backward[:, ::-1]) / 2),
            one_order=one_order,
            consistency=order_consistency(one_order, swapped),
        )

    def _meetings(self, row: int, path_a: Path, path_b: Path) -> Iterator["_Meeting"]:
        """Windows of two recordings that meet; none where a recording cannot be read."""
        a, b = self._frames.get(path_a), self._frames.get(path_b)
        if a is None or b is None:
            return
        met = list(meet(a, b))
        total_s = sum(of_a.weight_s + of_b.weight_s for of_a, of_b in met)
        for of_a, of_b in met:
            share = (of_a.weight_s + of_b.weight_s) / total_s
            yield _Meeting(row, of_a.frames, of_b.frames, share)

    def _compare(
        self,
        frames_a: Float[Tensor, "batch frames_a dim"],
        mask_a: Bool[Tensor, "batch frames_a"],
        frames_b: Float[Tensor, "batch frames_b dim"],
        mask_b: Bool[Tensor, "batch frames_b"],
    ) -> Float[NDArray[np.float64], "batch 3"]:
        with self._assessor.inference():
            output = self._assessor.network.compare_frames(frames_a, mask_a, frames_b, mask_b)
            logits = output.logits.cpu().double()
        probabilities: NDArray[np.float64] = logits.softmax(dim=-1).numpy()
        return probabilities


class _Window(NamedTuple):
    """Preference frames of a stretch of a recording, and the time that it stands for."""

    frames: Float[Tensor, "frames dim"]
    weight_s: float


class _Meeting(NamedTuple):
    """Two windows to compare, of which pair they are, and their share in its comparison."""

    row: int
    a: Float[Tensor, "frames_a dim"]
    b: Float[Tensor, "frames_b dim"]
    share: float


class _FrameCache:
    """Preference frames of the recordings used last."""

    def __init__(self, assessor: Assessor) -> None:
        self._assessor = assessor
        self._windows: OrderedDict[Path, list[_Window] | None] = OrderedDict()
        self._num_bytes = 0

    def get(self, path: Path) -> list[_Window] | None:
        """Windows of a recording; None if it cannot be read."""
        if path not in self._windows:
            self._windows[path] = self._compute(path)
            self._num_bytes += _num_bytes(self._windows[path])
        self._windows.move_to_end(path)
        while self._num_bytes > _FRAMES_KEPT_BYTES and len(self._windows) > 1:
            self._num_bytes -= _num_bytes(self._windows.popitem(last=False)[1])
        return self._windows[path]

    def _compute(self, path: Path) -> list[_Window] | None:
        # As `compare` and `score` read files, so that all three hear the same.
        recording = Recording(path)
        with self._assessor.inference():
            windows = [
                _Window(self._encode(window.waveform), window.weight_s)
                for window in recording.windows(sample_rate=self._assessor.sample_rate)
            ]
        return None if recording.error else windows

    def _encode(
        self, waveform: Float[NDArray[np.float32], " samples"]
    ) -> Float[Tensor, "frames dim"]:
        batch = torch.from_numpy(waveform)[None].to(self._assessor.device)
        frames, _ = self._assessor.preference_frames(batch)
        return frames[0]


def _num_bytes(windows: Sequence[_Window] | None) -> int:
    return sum(w.frames.numel() * w.frames.element_size() for w in windows or ())


def _pad(
    windows: Sequence[Float[Tensor, "_ dim"]],
) -> tuple[Float[Tensor, "batch frames dim"], Bool[Tensor, "batch frames"]]:
    frames = pad_sequence(list(windows), batch_first=True)
    lengths = torch.tensor([len(window) for window in windows], device=frames.device)
    return frames, lengths_to_mask(lengths, frames.shape[1])
