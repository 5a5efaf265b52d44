"""Mean scores over a data set as a torchmetrics metric."""

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from urgentmos.extras import require
from urgentmos.metrics import check_metrics
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import as_assessor

_torchmetrics = require("torchmetrics", extra="torchmetrics")

# Sums are integers, in steps of 1/2^24: exact in any order and over any number of recordings, where
# float32 would lose digits. Apple's GPUs have no float64.
_STEPS = 2**24


class UrgentMOSMetric(_torchmetrics.Metric):  # type: ignore[misc, name-defined]
    """Mean of each predicted metric over all recordings seen, for validation loops.

    Gradient does not flow through it: ``QualityLoss`` is there for that. Over several processes the
    mean is taken over the recordings of all of them.

    >>> metric = UrgentMOSMetric(["mos", "pesq"])
    >>> metric.update(0.1 * torch.sin(torch.arange(16000) / 9)[None], sample_rate=16000)
    >>> {name: mean.shape for name, mean in metric.compute().items()}
    {'mos': torch.Size([]), 'pesq': torch.Size([])}
    """

    is_differentiable = False
    # Metrics of both directions are given together; urgentmos.METRICS tells each one's.
    higher_is_better = None
    full_state_update = False

    def __init__(
        self,
        metrics: Sequence[str] | None = None,
        *,
        model: Assessor | str | Path | None = None,
        **options: Any,
    ) -> None:
        """Load an assessor.

        Args:
            metrics: Metrics to give; all that the model predicts when None.
            model: An assessor, or what ``urgentmos.load`` takes; the default model when None.
            options: Passed on to ``torchmetrics.Metric``.

        Raises:
            UnknownMetricError: The model does not predict one of the metrics.
            CheckpointError: The model cannot be loaded.
            ValueError: The list of metrics is empty.
        """
        super().__init__(**options)
        if metrics is not None and not metrics:
            raise ValueError("expected at least one metric, or None for all of them, got none")
        self._assessor = as_assessor(model)
        self._metrics = check_metrics(
            self._assessor.metrics if metrics is None else metrics, self._assessor.metrics
        )
        self.totals: Tensor
        self.num_recordings: Tensor
        zeros = torch.zeros(len(self._metrics), dtype=torch.int64)
        self.add_state("totals", default=zeros, dist_reduce_fx="sum")
        self.add_state("num_recordings", default=torch.tensor(0), dist_reduce_fx="sum")
        # MetricCollection takes two metrics whose states agree once for one metric.
        identity = _identity(self._assessor, self._metrics)
        self.add_state("identity", default=identity, dist_reduce_fx="max")

    def update(
        self,
        waveform: Float[Tensor, "batch samples"] | Float[Tensor, " samples"],
        *,
        sample_rate: SupportsIndex = 16000,
        lengths: Integer[Tensor, " batch"] | None = None,
    ) -> None:
        """Score recordings and add them to the mean.

        Args:
            waveform: Recordings, full scale at ±1.
            sample_rate: Their rate in Hz.
            lengths: Samples of each where the batch is padded.

        Raises:
            TypeError: The waveform is no array or tensor, or the rate no whole number.
            ValueError: The waveform cannot be scored; see ``Assessor.score``.
        """
        if isinstance(waveform, Tensor) and self._assessor.device != waveform.device:
            # A copy: whoever gave the assessor, a loss say, may need it where it is.
            self._assessor = copy.deepcopy(self._assessor).to(waveform.device)
        scores = self._assessor.score(waveform, sample_rate, lengths=lengths, metrics=self._metrics)
        totals = torch.stack([(scores[name] * _STEPS).round().long() for name in self._metrics])
        self.totals = self.totals + totals.sum(dim=1).to(self.totals.device)
        self.num_recordings = self.num_recordings + len(scores[self._metrics[0]])

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """Give the mean of each metric over all recordings; NaN when there were none."""
        # Not as torch divides integers: in its default dtype, of which 16 bits would overflow.
        means = self.totals.to(torch.float32) / self.num_recordings / _STEPS
        return dict(zip(self._metrics, means.unbind(), strict=True))


def _identity(assessor: Assessor, metrics: Sequence[str]) -> Int[Tensor, " bytes"]:
    # Of a network that was never saved nothing else tells it from others.
    model = assessor.model_hash or str(id(assessor.network))
    text = " ".join([model, assessor.precision, *metrics])
    return torch.tensor(list(hashlib.sha256(text.encode()).digest()))
