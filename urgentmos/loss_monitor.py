"""Whether a quality loss still improves quality, or is being gamed."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from urgentmos.metrics import METRICS, check_metrics, get_metric
from urgentmos.ndarray import NDArray
from urgentmos.quality_loss import QualityLoss, distance_from_best


class HeadsPartedWarning(UserWarning):
    """The metrics in a loss get better while others get worse."""


@dataclass(frozen=True)
class Reading:
    """What the monitor heard between two readings.

    Attributes:
        scores: Mean score of each metric over the recordings.
        parted: Metrics held out of the loss that got worse while those in it got better, and by how
            much, as a share of their range.
        measured: Metrics that were measured, where the others were predicted.
    """

    scores: Mapping[str, float]
    parted: Mapping[str, float]
    measured: frozenset[str] = frozenset()


class LossMonitor:
    """Watches metrics held out of a ``QualityLoss`` on the same recordings again and again.

    A network can raise the scores in its loss by sounds that the assessor takes for quality. Heads
    that no gradient comes from then tend to fall. For each of them, the last reading is compared
    with the one at which that metric was best: it has parted when it got worse since, and the
    weighted mean of the metrics in the loss got better, both by more than ``tolerance`` of the
    range.

    The heads share one network and can be misled together, as recipes/enhancement shows. Give what
    can be measured against the clean speech, and it is watched in place of the head, or where the
    assessor has none:

    >>> monitor = LossMonitor(QualityLoss({"pesq": 1.0}), held_out=["estoi", "spksim"])
    >>> enhanced = 0.1 * torch.sin(torch.arange(16000) / 9)[None]
    >>> monitor.update(enhanced, measured={"estoi": [0.75]})
    >>> reading = monitor.compute()  # each epoch
    >>> list(reading.scores), reading.scores["estoi"], reading.parted
    (['pesq', 'estoi', 'spksim'], 0.75, {})
    """

    def __init__(
        self,
        loss: QualityLoss,
        *,
        held_out: Sequence[str] | None = None,
        tolerance: float = 0.02,
    ) -> None:
        """Choose what to watch.

        Args:
            loss: The loss that is trained with.
            held_out: Metrics that are not in it; all such that its assessor predicts when None.
            tolerance: Share of a metric's range by which it may get worse, 0 or more.

        Raises:
            UnknownMetricError: The assessor does not predict one of the metrics.
            ValueError: Nothing is held out, a metric is in the loss, or the tolerance is
                negative or not finite.
        """
        self._loss = loss
        self._weights = {name: weight for name, weight in loss.weights.items() if weight}
        wanted = [name for name in loss.metrics if name not in self._weights]
        self.held_out = check_metrics(wanted if held_out is None else held_out, loss.metrics)
        in_both = [name for name in self.held_out if name in self._weights]
        if in_both or not self.held_out:
            raise ValueError(
                f"expected metrics held out of the loss, got {', '.join(in_both) or 'none'}; "
                f"it is made of {', '.join(self._weights)}, "
                f"and its model predicts {', '.join(loss.metrics)}"
            )
        if not 0 <= tolerance < math.inf:
            raise ValueError(f"expected a tolerance of 0 or more, and finite, got {tolerance}")
        self.tolerance = tolerance
        self.readings: list[Reading] = []
        self._totals: dict[str, float] = {}
        self._measured: frozenset[str] = frozenset()
        self._num_recordings = 0

    def update(
        self,
        enhanced: Float[Tensor, "batch samples"],
        *,
        sample_rate: int = 16000,
        lengths: Integer[Tensor, " batch"] | Sequence[int] | None = None,
        measured: Mapping[str, Tensor | NDArray[Any] | Sequence[float]] = MappingProxyType({}),
    ) -> None:
        """Score recordings, without gradient.

        Args:
            enhanced: Waveforms, full scale at ±1: the same recordings before each reading.
            sample_rate: Their rate in Hz.
            lengths: Samples of each where the batch is padded.
            measured: Metrics computed from the recordings themselves, one value for each, in their
                unit: any of ``METRICS`` that is not in the loss. They are held out, too, and take
                the place of predicted ones. Give the same ones at each call.

        Raises:
            UnknownMetricError: There is no such metric.
            TypeError: The waveform is no tensor of floats, or the rate no whole number.
            ValueError: The recordings cannot be scored, see ``QualityLoss``; or a measured metric
                is in the loss, is another than at the calls before, or has not one value for each
                recording.
        """
        given = {get_metric(name).name: values for name, values in measured.items()}
        in_both = [name for name in given if name in self._weights]
        if in_both:
            raise ValueError(
                f"expected measured metrics that are not in the loss, got {', '.join(in_both)}"
            )
        if self._num_recordings and set(given) != self._measured:
            raise ValueError(
                f"expected the same measured metrics at each call before compute(), got "
                f"{', '.join(sorted(set(given) ^ self._measured))} at some"
            )
        self._measured = frozenset(given)
        predicted = [*self._weights, *self.held_out]
        with torch.no_grad():
            scores = self._loss.scores(
                enhanced, sample_rate=sample_rate, lengths=lengths, metrics=predicted
            )
        # Stated, here and below: torch's default device would have a say otherwise.
        heard = {
            name: torch.as_tensor(each, device="cpu").detach()
            for name, each in {**scores, **given}.items()
        }
        for name, each in heard.items():
            if each.shape != (len(enhanced),):
                raise ValueError(
                    f"expected {len(enhanced)} values of {name}, one for each recording, "
                    f"got shape {tuple(each.shape)}"
                )
        for name, each in heard.items():
            self._totals[name] = self._totals.get(name, 0.0) + float(each.double().sum())
        self._num_recordings += len(enhanced)

    def compute(self) -> Reading:
        """Take a reading and start the next one.

        Warns:
            HeadsPartedWarning: A metric held out of the loss has parted from those in it.

        Raises:
            ValueError: No recording was heard since the last reading.
        """
        if not self._num_recordings:
            raise ValueError("expected update() before compute(), got no recording")
        scores = {name: total / self._num_recordings for name, total in self._totals.items()}
        self._totals = {}
        self._num_recordings = 0
        parted = {}
        for name in (name for name in scores if name not in self._weights):
            # A head and a measurement differ by more than the tolerance on one recording.
            alike = [r for r in self.readings if (name in r.measured) == (name in self._measured)]
            history = [reading.scores for reading in alike] + [scores]
            # A reading with NaN, as of a measure that fails on silence, would pass for the best.
            finite = [
                heard
                for heard in history
                if name in heard
                and math.isfinite(_distance(name, heard) + self._loss_distance(heard))
            ]
            best = min(finite, key=lambda heard: _distance(name, heard), default=scores)
            worse = _distance(name, scores) - _distance(name, best)
            gained = self._loss_distance(best) - self._loss_distance(scores)
            if worse > self.tolerance and gained > self.tolerance:
                parted[name] = worse
        self.readings.append(Reading(scores, parted, self._measured))
        if parted:
            warnings.warn(self._message(parted), HeadsPartedWarning, stacklevel=2)
        return self.readings[-1]

    def _loss_distance(self, scores: Mapping[str, float]) -> float:
        weighted = [weight * _distance(name, scores) for name, weight in self._weights.items()]
        return math.fsum(weighted) / math.fsum(map(abs, self._weights.values()))

    def _message(self, parted: Mapping[str, float]) -> str:
        worse = ", ".join(f"{name} by {100 * by:.0f} % of its range" for name, by in parted.items())
        return (
            f"reading {len(self.readings)}: {', '.join(self._weights)}, in the loss, got better "
            f"while metrics held out of it got worse: {worse}. The loss is probably being gamed: "
            "lower its weight, put more metrics into it, or stop earlier"
        )


def _distance(name: str, scores: Mapping[str, float]) -> float:
    score = torch.tensor([scores[name]], dtype=torch.float64, device="cpu")
    return float(distance_from_best(METRICS[name], score))
