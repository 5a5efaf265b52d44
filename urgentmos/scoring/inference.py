"""Batches through the model: what fails is narrowed down to the recording that fails."""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from urgentmos.model.assessor import Assessor
from urgentmos.ndarray import NDArray
from urgentmos.scoring.batches import plan_batches
from urgentmos.windows import Window

# What a model raises on a recording that it cannot take.
MODEL_FAILURES = (ArithmeticError, LookupError, RuntimeError, ValueError)

_log = logging.getLogger(__name__)


class WindowScorer:
    """Scores windows in batches bounded by padded seconds.

    A batch for which the GPU's memory does not suffice is halved, and so is the bound from then
    on, with a warning. A batch that fails otherwise is halved until the failing window is alone.

    Args:
        assessor: Model.
        metrics: Metrics to keep.
        batch_seconds: Bound on items times longest item, in seconds.
    """

    def __init__(self, assessor: Assessor, metrics: Sequence[str], *, batch_seconds: float) -> None:
        self._assessor = assessor
        self._metrics = metrics
        self._max_samples = max(1, round(batch_seconds * assessor.sample_rate))

    def score(self, windows: Sequence[Window]) -> list[dict[str, float] | str]:
        """Score windows.

        Returns:
            For each window its score by metric, or the reason why it has none.
        """
        waveforms = [window.waveform for window in windows]
        results: list[dict[str, float] | str] = [""] * len(windows)
        lengths = [self._length(waveform) for waveform in waveforms]
        for batch in plan_batches(lengths, max_samples=self._max_samples):
            scored = self._score_batch([waveforms[position] for position in batch])
            for position, result in zip(batch, scored, strict=True):
                results[position] = result
        return results

    def _score_batch(
        self, waveforms: Sequence[NDArray[np.float32]]
    ) -> list[dict[str, float] | str]:
        size = len(waveforms) * max(map(self._length, waveforms))
        if size > self._max_samples and len(waveforms) > 1:
            return self._score_halves(waveforms)
        try:
            return self._forward(waveforms)
        except torch.cuda.OutOfMemoryError:
            out_of_memory, reason = True, "out of GPU memory on this recording alone"
        except MODEL_FAILURES as error:
            out_of_memory, reason = False, f"the model failed: {error}"
        # Past the except block: the exception held on to the tensors of the failed batch.
        if out_of_memory:
            self._halve_bound(size)
        return [reason] if len(waveforms) == 1 else self._score_halves(waveforms)

    def _length(self, waveform: NDArray[np.float32]) -> int:
        """Samples that the model makes of it: a short recording is repeated."""
        return max(len(waveform), self._assessor.network.min_samples)

    def _score_halves(
        self, waveforms: Sequence[NDArray[np.float32]]
    ) -> list[dict[str, float] | str]:
        middle = len(waveforms) // 2
        return self._score_batch(waveforms[:middle]) + self._score_batch(waveforms[middle:])

    def _halve_bound(self, size: int) -> None:
        torch.cuda.empty_cache()
        self._max_samples = size // 2
        seconds = self._max_samples / self._assessor.sample_rate
        _log.warning("out of GPU memory: going on with batches of %.0f s", seconds)

    def _forward(self, waveforms: Sequence[NDArray[np.float32]]) -> list[dict[str, float] | str]:
        lengths = [len(waveform) for waveform in waveforms]
        padded = torch.zeros(len(waveforms), max(lengths), dtype=torch.float32, device="cpu")
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = torch.from_numpy(waveform)
        scores = self._assessor.score(
            padded,
            self._assessor.sample_rate,
            lengths=lengths,
            metrics=self._metrics,
        )
        columns = {metric: scores[metric].tolist() for metric in self._metrics}
        return [
            self._checked({metric: values[item] for metric, values in columns.items()})
            for item in range(len(waveforms))
        ]

    @staticmethod
    def _checked(scores: dict[str, float]) -> dict[str, float] | str:
        bad = [metric for metric, score in scores.items() if not np.isfinite(score)]
        return f"the model gave no finite score for {', '.join(bad)}" if bad else scores
