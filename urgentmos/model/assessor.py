"""The assessor as its users meet it: recordings in, scores and preferences out."""

import importlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from urgentmos.model.config import ModelConfig
from urgentmos.model.network import AssessorNetwork, NetworkOutput, build_assessor
from urgentmos.resampling import resample, resampled_length

__all__ = [
    "Assessor",
    "AssessorNetwork",
    "NetworkOutput",
    "Preference",
    "build_assessor",
]

Waveform = npt.NDArray[Any] | Tensor
Verdict = Literal["A", "tie", "B"]

# Two float32 softmax outputs that are equal in exact arithmetic differ by less than this.
_EQUAL = 1e-6


@dataclass(frozen=True)
class Preference:
    """How recording A compares with recording B.

    Attributes:
        p_a: Probability that A is better.
        p_tie: Probability that neither is.
        p_b: Probability that B is better.
        cmos: Comparative score; positive means A is better.
        verdict: ``A``, ``tie`` or ``B``: the most probable; a tie where P(A) = P(B).
    """

    p_a: float
    p_tie: float
    p_b: float
    cmos: float
    verdict: Verdict


class Assessor:
    """A trained model: scores recordings, compares two.

    Attributes:
        network: The network, in evaluation mode.
        config: What the network was built from.
        metrics: Metrics it predicts.
        sample_rate: Rate in Hz it works at; other rates are resampled.
        model_hash: First twelve hexadecimal digits of the hash of configuration and weights;
            empty for a network that was never saved.
        card: The model card.
    """

    def __init__(
        self,
        network: AssessorNetwork,
        config: ModelConfig,
        *,
        model_hash: str = "",
        card: dict[str, Any] | None = None,
    ) -> None:
        """Wrap a network; it is put into evaluation mode."""
        self.network = network.eval()
        self.config = config
        self.metrics = list(network.metrics)
        self.sample_rate = config.sample_rate
        self.model_hash = model_hash
        self.card = dict(card or {})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def to(self, device: str | torch.device) -> "Assessor":
        """Move the weights; returns the assessor itself."""
        self.network.to(device)
        return self

    def score(
        self,
        waveform: Waveform,
        sample_rate: int,
        *,
        lengths: Sequence[int] | Waveform | None = None,
        metrics: Collection[str] | None = None,
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Score recordings, each in one piece.

        Memory grows with the square of the longest: ``score_files`` cuts long recordings into
        windows.

        Args:
            waveform: ``(samples,)`` or ``(batch, samples)``, floating point, full scale at ±1.
            sample_rate: Its rate in Hz.
            lengths: Samples of each recording where the batch is padded.
            metrics: Metrics wanted; all when None.

        Returns:
            Scores of each recording in the metric's unit, inside its range; no gradient.

        Raises:
            ValueError: The waveform is empty, not finite, or has another shape or type.
            UnknownMetricError: The model does not predict one of the metrics.
        """
        with torch.inference_mode():
            batch, batch_lengths = self._prepare(waveform, sample_rate, lengths)
            output: NetworkOutput = self.network(batch, batch_lengths, metrics=metrics)
        return output.scores

    def compare(self, a: Waveform, b: Waveform, sample_rate: int) -> Preference:
        """Compare two recordings; comparing them in the other order gives the exact mirror.

        Args:
            a: One recording, ``(samples,)``.
            b: The other, of any length.
            sample_rate: Rate of both in Hz.

        Raises:
            ValueError: A waveform cannot be scored, or the model has no preference head.
        """
        with torch.inference_mode():
            # Each alone: in one batch, rounding could depend on which of the two comes first.
            frames_a, mask_a = self.network.preference_frames(*self._prepare_one(a, sample_rate))
            frames_b, mask_b = self.network.preference_frames(*self._prepare_one(b, sample_rate))
            forward = self.network.compare_frames(frames_a, mask_a, frames_b, mask_b)
            backward = self.network.compare_frames(frames_b, mask_b, frames_a, mask_a)
        return combine_orders(
            _probabilities(forward.logits),
            _probabilities(backward.logits),
            cmos_forward=float(forward.cmos),
            cmos_backward=float(backward.cmos),
        )

    def score_files(self, paths: Sequence[str | Path], **options: Any) -> Iterator[Any]:
        """Score files and folders: one ``urgentmos.scoring.Row`` each, as they are done.

        Args:
            paths: Files, and folders to search for audio.
            options: See ``urgentmos.scoring.score_files``.
        """
        # By name: scoring stands above the model and imports it.
        scoring = importlib.import_module("urgentmos.scoring")
        rows: Iterator[Any] = scoring.score_files(self, paths, **options)
        return rows

    def _prepare_one(
        self, waveform: Waveform, sample_rate: int
    ) -> tuple[Float[Tensor, "1 samples"], Int[Tensor, " 1"]]:
        if waveform.ndim != 1:
            raise ValueError(
                f"expected one recording of shape (samples,), got {tuple(waveform.shape)}"
            )
        return self._prepare(waveform, sample_rate, None)

    def _prepare(
        self,
        waveform: Waveform,
        sample_rate: int,
        lengths: Sequence[int] | Waveform | None,
    ) -> tuple[Float[Tensor, "batch samples"], Int[Tensor, " batch"]]:
        batch = _as_batch(waveform).to(self.device)
        batch_lengths = _as_lengths(lengths, batch)
        valid = torch.arange(batch.shape[1], device=batch.device) < batch_lengths[:, None]
        batch = batch.masked_fill(~valid, 0.0)
        if not bool(torch.isfinite(batch).all()):
            raise ValueError(
                f"the waveform of shape {tuple(waveform.shape)} has NaN or infinite samples"
            )
        if sample_rate != self.sample_rate:
            batch = resample(batch, from_rate=sample_rate, to_rate=self.sample_rate)
            batch_lengths = torch.tensor(
                [
                    resampled_length(int(n), from_rate=sample_rate, to_rate=self.sample_rate)
                    for n in batch_lengths
                ],
                device=batch.device,
            )
        return batch, batch_lengths


def combine_orders(
    forward: tuple[float, float, float],
    backward: tuple[float, float, float],
    *,
    cmos_forward: float,
    cmos_backward: float,
) -> Preference:
    """Average what the network says about (A, B) and about (B, A).

    Args:
        forward: Probabilities of first better, tie, second better for (A, B).
        backward: The same for (B, A).
        cmos_forward: Comparative score of A against B.
        cmos_backward: Comparative score of B against A.
    """
    p_a = (forward[0] + backward[2]) / 2
    p_tie = (forward[1] + backward[1]) / 2
    p_b = (forward[2] + backward[0]) / 2
    verdict: Verdict = "A" if p_a > p_b else "B"
    if abs(p_a - p_b) <= _EQUAL or p_tie >= max(p_a, p_b):
        verdict = "tie"
    cmos = (cmos_forward - cmos_backward) / 2
    return Preference(p_a=p_a, p_tie=p_tie, p_b=p_b, cmos=cmos, verdict=verdict)


def _probabilities(logits: Float[Tensor, "1 3"]) -> tuple[float, float, float]:
    a, tie, b = (float(value) for value in logits.double().softmax(dim=-1)[0])
    return a, tie, b


def _as_batch(waveform: Waveform) -> Float[Tensor, "batch samples"]:
    shape = tuple(waveform.shape)
    tensor = torch.as_tensor(waveform)
    if tensor.ndim not in (1, 2):
        raise ValueError(
            f"expected a waveform of shape (samples,) or (batch, samples), got {shape}"
        )
    if math.prod(shape) == 0:
        raise ValueError(f"the waveform is empty: its shape is {shape}")
    if not tensor.is_floating_point():
        raise ValueError(
            f"expected a floating-point waveform with full scale at 1, got {tensor.dtype} of shape "
            f"{shape}; divide 16-bit samples by 32768 first"
        )
    return tensor.reshape(-1, shape[-1]).to(torch.float32)


def _as_lengths(
    lengths: Sequence[int] | Waveform | None, batch: Float[Tensor, "batch samples"]
) -> Int[Tensor, " batch"]:
    num_recordings, samples = batch.shape
    if lengths is None:
        return torch.full((num_recordings,), samples, device=batch.device)
    tensor = torch.as_tensor(lengths, device=batch.device)
    if tensor.shape != (num_recordings,) or tensor.is_floating_point():
        raise ValueError(
            f"expected {num_recordings} whole numbers as lengths, got shape {tuple(tensor.shape)} "
            f"of {tensor.dtype}"
        )
    if int(tensor.min()) < 1 or int(tensor.max()) > samples:
        raise ValueError(
            f"expected lengths between 1 and {samples} samples, "
            f"got {int(tensor.min())} to {int(tensor.max())}"
        )
    return tensor.long()
