"""A frozen assessor as a training loss."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, SupportsIndex

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from urgentmos.audio import MAX_LEVEL
from urgentmos.masks import divide_up, lengths_to_mask
from urgentmos.metrics import METRICS, Metric, check_metrics
from urgentmos.model.assessor import Assessor, as_lengths, channel_hint, has_channels_last
from urgentmos.model.checkpoint import as_assessor
from urgentmos.model.forked import leave_lost_threads
from urgentmos.model.network import AssessorNetwork
from urgentmos.model.windowed import windowed_scores
from urgentmos.rates import check_rate
from urgentmos.resampling import resample
from urgentmos.silence import drop_edge_silence

Reduction = Literal["mean", "none", "sum"]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "none": lambda losses: losses,
}


class QualityLoss(nn.Module):
    """How far recordings are from the best quality; lower is better for every metric.

    With a metric's score s, its width w (``Metric.scale``) and its bounds, a recording's loss is
    the weighted sum over metrics of

    - ``(high - s) / w`` where higher is better, or ``-s / w`` without an upper bound;
    - ``(s - low) / w`` where lower is better, or ``s / w`` without a lower bound.

    The weights of the assessor are frozen and it stays in evaluation mode, whatever happens to
    the modules around it. It is no part of ``state_dict`` or ``parameters``: checkpoints and
    distributed training do not carry it. ``to(device)`` moves it; it always computes in 32 bits.
    Its control flow depends on the input, so ``torch.compile`` the enhancer, not the whole step.

    >>> loss = QualityLoss(weights={"mos": 1.0, "pesq": 0.5})
    >>> enhanced = (0.1 * torch.sin(torch.arange(16000) / 9)).repeat(2, 1).requires_grad_()
    >>> loss(enhanced, sample_rate=16000, lengths=[16000, 12000]).backward()
    >>> bool(enhanced.grad[1, :12000].any()), bool(enhanced.grad[1, 12000:].any())
    (True, False)
    """

    def __init__(
        self,
        weights: Mapping[str, float | int] | None = None,
        *,
        model: Assessor | str | Path | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        """Load and freeze an assessor.

        Args:
            weights: Weight of each metric in the sum; ``{"mos": 1.0}`` when None.
            model: An assessor, which is frozen in place, or what ``urgentmos.load`` takes; the
                default model when None.
            reduction: ``mean`` or ``sum`` over recordings, or ``none``.

        Raises:
            UnknownMetricError: The model does not predict one of the metrics.
            CheckpointError: The model cannot be loaded.
            TypeError: The weights are no mapping of names to numbers.
            ValueError: The reduction is unknown, no metric has weight or one that is not finite, or
                gradient does not reach the waveform through one of the model's encoders.
        """
        super().__init__()
        self.reduction = reduction
        wanted = {"mos": 1.0} if weights is None else as_numbers(weights)
        assessor = as_assessor(model)
        names = check_metrics(wanted, assessor.metrics)
        if len(names) != len(wanted):
            raise ValueError(f"a metric is named twice, under other names: {', '.join(wanted)}")
        if not all(map(math.isfinite, wanted.values())):
            raise ValueError(f"expected weights that are finite numbers, got {wanted}")
        if not any(wanted.values()):
            raise ValueError(f"expected at least one metric with a weight, got {wanted}")
        _check_differentiable(assessor.network)
        self.weights = dict(zip(names, wanted.values(), strict=True))
        self.metrics = assessor.metrics
        self.sample_rate = assessor.sample_rate
        # A one-tuple hides the network from nn.Module, hence from state_dict, train and parameters.
        self._frozen = (assessor.network.eval().requires_grad_(False),)

    @property
    def reduction(self) -> Reduction:
        """``mean`` or ``sum`` over recordings, or ``none``.

        Raises:
            ValueError: Another is set.
        """
        return self._reduction

    @reduction.setter
    def reduction(self, reduction: Reduction) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(f"expected a reduction of {', '.join(_REDUCTIONS)}, got {reduction!r}")
        self._reduction = reduction

    def forward(
        self,
        enhanced: Float[Tensor, "... samples"],
        *,
        sample_rate: SupportsIndex = 16000,
        lengths: Integer[Tensor, " batch"] | Sequence[int] | None = None,
    ) -> Float[Tensor, "*batch"]:
        """Give the loss of each recording, or their mean or sum.

        As for files, digital silence at the edges has no part in it, and what is longer than 16 s
        is heard in windows, in the memory of one window beyond the waveform's.

        The quieter a waveform, the larger its gradient, since level changes no score: clip the
        gradient of a network that begins with near silence. Within a recording, too, it is largest
        where there is least: in bands and pauses that are almost empty. What peaks below -70 dB of
        full scale, a recording or a window of a long one, has its loss but no gradient. A recording
        with NaN, or with samples beyond 2^31 of full scale, has a loss of NaN and no gradient, and
        leaves those of the others as they are. One under 25 ms, which is refused as a file, has its
        loss, too; it says little.

        Samples beyond full scale cost nothing here, but are clipped where they are written to a
        file: let another loss hold the level. Gradient passes once: attention on CPU has no second
        derivative, but within ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``.

        Args:
            enhanced: ``(batch, samples)``, full scale at ±1; gradient flows back to them. Rows are
                recordings: the channels of one would be heard as so many.
            sample_rate: Their rate in Hz.
            lengths: Samples of each where the batch is padded.

        Returns:
            One loss for each recording where the reduction is ``none``, otherwise a single one.

        Raises:
            TypeError: The waveform is no tensor of floats, or the rate no whole number.
            ValueError: The waveform has another shape or is on another device than the loss, or the
                rate or the lengths cannot be.
        """
        losses = torch.stack(
            [
                weight * distance_from_best(METRICS[name], score)
                for (name, weight), score in zip(
                    self.weights.items(),
                    self.scores(enhanced, sample_rate=sample_rate, lengths=lengths).values(),
                    strict=True,
                )
            ]
        ).sum(dim=0)
        return _REDUCTIONS[self.reduction](losses)

    def scores(
        self,
        enhanced: Float[Tensor, "... samples"],
        *,
        sample_rate: SupportsIndex = 16000,
        lengths: Integer[Tensor, " batch"] | Sequence[int] | None = None,
        metrics: Sequence[str] | None = None,
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Give the scores of each recording, with gradient.

        Args:
            enhanced: As for the loss, ``(batch, samples)``.
            sample_rate: Their rate in Hz.
            lengths: Samples of each where the batch is padded.
            metrics: Metrics wanted; those that the loss is made of when None.

        Returns:
            Scores of each recording in the metric's unit, inside its range.

        Raises:
            UnknownMetricError: The model does not predict one of the metrics.
            TypeError: As for the loss.
            ValueError: As for the loss.
        """
        leave_lost_threads()
        (network,) = self._frozen
        weight = next(network.parameters())
        _check_waveform(enhanced, device=weight.device)
        sample_rate = check_rate(sample_rate)
        lengths = as_lengths(lengths, enhanced)
        with torch.autocast(enhanced.device.type, enabled=False):
            padding = ~lengths_to_mask(lengths, enhanced.shape[1])
            # A copy: the caller may change the samples before gradient is taken.
            waveform = enhanced.to(weight.dtype).masked_fill(padding, 0.0)
            # Its power would overflow: a loss that says nothing, and no gradient. NaN, too, is not
            # at most any level.
            diverged = ~(waveform.detach().abs().amax(dim=1) <= MAX_LEVEL)
            waveform = waveform.masked_fill(diverged[:, None], torch.nan)
            if sample_rate != self.sample_rate:
                # Before resampling, which would let the first sound ring into the silence.
                waveform, lengths = drop_edge_silence(waveform, lengths)
                waveform = resample(waveform, from_rate=sample_rate, to_rate=self.sample_rate)
                lengths = divide_up(lengths * self.sample_rate, sample_rate)
            return windowed_scores(
                network,
                waveform,
                lengths,
                metrics=list(self.weights) if metrics is None else metrics,
                sample_rate=self.sample_rate,
            )

    def extra_repr(self) -> str:
        """Show what the loss is made of."""
        terms = ", ".join(f"{name}: {weight:g}" for name, weight in self.weights.items())
        return f"weights={{{terms}}}, reduction={self.reduction!r}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "QualityLoss":
        # Every move or cast of a module ends here. Only moves are passed on to the network: its
        # weights would lose what a cast to 16 bits cuts off.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        (network,) = self._frozen
        network.to(fn(torch.empty(0, device=next(network.parameters()).device)).device)
        return self


def distance_from_best(metric: Metric, score: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Turn scores into losses of comparable size; see ``QualityLoss`` for the formula."""
    if metric.higher_is_better:
        return ((metric.high or 0.0) - score) / metric.scale
    return (score - (metric.low or 0.0)) / metric.scale


def as_numbers(weights: object) -> dict[str, float]:
    """Check that weights are numbers by name.

    Raises:
        TypeError: They are not.
    """
    expected = "expected weights such as {'mos': 1.0, 'pesq': 0.5}, got "
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise TypeError(f"{expected}{weights!r}")
    try:
        # Not float(): it reads text, too.
        return {name: math.fsum([weight]) for name, weight in weights.items()}
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        # RuntimeError or ValueError is what torch says of tensors of several values.
        raise TypeError(f"{expected}{dict(weights)}") from error


def _check_waveform(enhanced: object, *, device: torch.device) -> None:
    if not isinstance(enhanced, Tensor) or not enhanced.is_floating_point():
        found = enhanced.dtype if isinstance(enhanced, Tensor) else type(enhanced).__name__
        raise TypeError(
            f"expected waveforms as a tensor of floats with full scale at 1, got {found}"
        )
    shape = tuple(enhanced.shape)
    if len(shape) != 2 or enhanced.numel() == 0 or has_channels_last(shape):
        hint = "; unsqueeze(0) makes a batch of one recording" if len(shape) == 1 else ""
        raise ValueError(
            f"expected waveforms of shape (batch, samples), got {shape}{hint}{channel_hint(shape)}"
        )
    if enhanced.device != device:
        raise ValueError(
            f"the waveforms are on {enhanced.device}, the loss is on {device}: move it there with "
            f"to({str(enhanced.device)!r})"
        )


def _check_differentiable(network: AssessorNetwork) -> None:
    for index, encoder in enumerate(network.encoders):
        if not encoder.differentiable:
            raise ValueError(
                f"encoder {index} ({type(encoder).__name__}) lets no gradient reach the waveform, "
                f"so it cannot be a loss: {encoder.gradient_note}"
            )
