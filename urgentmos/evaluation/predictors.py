"""Predictors that are judged: scores of recordings, and the model's preference head on pairs."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from urgentmos.audio import AudioError, read_audio
from urgentmos.evaluation.pair_sets import PairSet
from urgentmos.evaluation.preference import (
    Preferences,
    order_consistency,
    preferences_from_probabilities,
    preferences_from_scores,
)
from urgentmos.evaluation.ratings import FIVE_POINT
from urgentmos.masks import lengths_to_mask
from urgentmos.metrics import METRICS
from urgentmos.model.assessor import Assessor

_PAIRS_PER_BATCH = 16
_FRAMES_KEPT_BYTES = 2 << 30


@dataclass(frozen=True)
class ScorePredictor:
    """Scores of recordings by one predictor.

    Attributes:
        name: As it stands in the tables.
        scores: Score by audio file; a file it failed on is absent or NaN.
        metric: Which metric the scores are: decides which way is better and what difference is a
            tie. Scores that are no known metric are taken as five-point ones.
    """

    name: str
    scores: Mapping[Path, float]
    metric: str = "mos"

    def score(self, paths: Iterable[Path]) -> Float[NDArray[np.float64], " files"]:
        """Scores in the order of some paths; NaN where there is none."""
        return np.array([self.scores.get(path, np.nan) for path in paths], dtype=float)

    def prefer(self, pairs: PairSet, *, delta: float) -> Preferences:
        """Derive preferences from score differences.

        Args:
            pairs: Pairs to judge.
            delta: Largest difference on a five-point scale that is a tie; for a metric with
                another scale, the same share of that.
        """
        metric, scores = METRICS.get(self.metric), self.score(pairs.paths)
        if metric is not None and not metric.higher_is_better:
            scores = -scores
        if metric is not None and metric.unit != "MOS":
            delta *= metric.scale / (FIVE_POINT[1] - FIVE_POINT[0])
        return preferences_from_scores(scores, pairs.pairs, delta=delta)


class PreferenceComparer:
    """The preference head of a model on many pairs.

    Each recording goes through the encoders once, as long as its frames stay in memory; only the
    head runs per pair, in both orders, averaged as `Assessor.compare` does.
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
        backward = forward.copy()
        for start in range(0, len(pairs.pairs), _PAIRS_PER_BATCH):
            batch = pairs.pairs[start : start + _PAIRS_PER_BATCH]
            members = [[self._frames.get(pairs.paths[place]) for place in pair] for pair in batch]
            known = [i for i, (a, b) in enumerate(members) if a is not None and b is not None]
            if known:
                a, b = (
                    _pad([frames for i in known if (frames := members[i][side]) is not None])
                    for side in (0, 1)
                )
                rows = start + np.array(known)
                forward[rows] = self._compare(*a, *b)
                backward[rows] = self._compare(*b, *a)
        return forward, backward

    def prefer(self, pairs: PairSet) -> tuple[Preferences, float]:
        """Compare the pairs of a set.

        Returns:
            Preferences from both orders averaged, and how consistent the head is before that: the
            share of pairs whose single-order verdict mirrors when the pair is swapped.
        """
        forward, backward = self.probabilities(pairs)
        averaged = (forward + backward[:, ::-1]) / 2
        consistency = order_consistency(
            preferences_from_probabilities(forward), preferences_from_probabilities(backward)
        )
        return preferences_from_probabilities(averaged), consistency

    @torch.inference_mode()
    def _compare(
        self,
        frames_a: Float[Tensor, "batch frames_a dim"],
        mask_a: Bool[Tensor, "batch frames_a"],
        frames_b: Float[Tensor, "batch frames_b dim"],
        mask_b: Bool[Tensor, "batch frames_b"],
    ) -> Float[NDArray[np.float64], "batch 3"]:
        output = self._assessor.network.compare_frames(frames_a, mask_a, frames_b, mask_b)
        probabilities: NDArray[np.float64] = output.logits.double().softmax(dim=-1).cpu().numpy()
        return probabilities


class _FrameCache:
    """Preference frames of the recordings used last."""

    def __init__(self, assessor: Assessor) -> None:
        self._assessor = assessor
        self._frames: OrderedDict[Path, Float[Tensor, "frames dim"] | None] = OrderedDict()
        self._num_bytes = 0

    def get(self, path: Path) -> Float[Tensor, "frames dim"] | None:
        """Frames of a recording; None if it cannot be read."""
        if path not in self._frames:
            self._frames[path] = self._compute(path)
            self._num_bytes += _num_bytes(self._frames[path])
        self._frames.move_to_end(path)
        while self._num_bytes > _FRAMES_KEPT_BYTES and len(self._frames) > 1:
            self._num_bytes -= _num_bytes(self._frames.popitem(last=False)[1])
        return self._frames[path]

    @torch.inference_mode()
    def _compute(self, path: Path) -> Float[Tensor, "frames dim"] | None:
        try:
            audio = read_audio(path, sample_rate=self._assessor.sample_rate)
        except AudioError:
            return None
        waveform = torch.from_numpy(audio.waveform).to(self._assessor.device)[None]
        lengths = torch.tensor([waveform.shape[1]], device=waveform.device)
        frames, _ = self._assessor.network.preference_frames(waveform, lengths)
        return frames[0]


def _num_bytes(frames: Tensor | None) -> int:
    return 0 if frames is None else frames.numel() * frames.element_size()


def _pad(
    recordings: Sequence[Float[Tensor, "_ dim"]],
) -> tuple[Float[Tensor, "batch frames dim"], Bool[Tensor, "batch frames"]]:
    frames = pad_sequence(list(recordings), batch_first=True)
    lengths = torch.tensor([len(recording) for recording in recordings], device=frames.device)
    return frames, lengths_to_mask(lengths, frames.shape[1])
