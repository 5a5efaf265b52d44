"""The assessor as its users meet it: recordings in, scores and preferences out.

What is done to a recording before the network hears it is the same as for files: digital silence
before the first sound and after the last is left out, and what is longer than 16 s is heard in
windows (``urgentmos.windows``).
"""

import contextlib
import importlib
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from urgentmos.audio import MAX_LEVEL
from urgentmos.masks import check_lengths, lengths_to_mask
from urgentmos.model.config import ModelConfig
from urgentmos.model.device import find_device
from urgentmos.model.forked import leave_lost_threads
from urgentmos.model.network import AssessorNetwork, NetworkOutput, build_assessor
from urgentmos.model.tf32 import with_whole_products, without_tf32
from urgentmos.model.windowed import windowed_scores
from urgentmos.ndarray import NDArray
from urgentmos.precision import Precision
from urgentmos.rates import check_rate
from urgentmos.resampling import resample_as_files
from urgentmos.silence import drop_edge_silence
from urgentmos.verdict import Verdict, verdict_of
from urgentmos.windows import meet, plan_windows

if TYPE_CHECKING:
    from urgentmos.scoring import Row

__all__ = [
    "Assessor",
    "AssessorNetwork",
    "NetworkOutput",
    "Preference",
    "build_assessor",
]

Waveform = NDArray[Any] | Tensor

# Recordings of no more samples are channels, in an array that came as (samples, channels).
_MOST_CHANNELS = 64
# Of NumPy's, those that torch has.
_FLOATS = (np.float16, np.float32, np.float64)
_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class Preference:
    """How recording A compares with recording B.

    Attributes:
        p_a: Probability that A is better.
        p_tie: Probability that neither is.
        p_b: Probability that B is better.
        cmos: Comparative score; positive means A is better.
        verdict: ``A better``, ``tie`` or ``B better``: the most probable; a tie where
            P(A) = P(B).
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
        precision: What matrix products and convolutions are computed in.
    """

    def __init__(
        self,
        network: AssessorNetwork,
        config: ModelConfig,
        *,
        model_hash: str = "",
        card: dict[str, Any] | None = None,
        precision: Precision = "float32",
    ) -> None:
        """Wrap a network; it is put into evaluation mode.

        Args:
            network: The network.
            config: What it was built from.
            model_hash: Hash of configuration and weights, empty where it was never saved.
            card: The model card: plain data.
            precision: What matrix products and convolutions are computed in.

        Raises:
            ValueError: The precision is unknown.
        """
        if precision not in get_args(Precision):
            known = " or ".join(get_args(Precision))
            raise ValueError(f"precision: expected {known}, got {precision!r}")
        self.network = network.eval()
        self.config = config
        self.metrics = list(network.metrics)
        self.sample_rate = config.sample_rate
        self.model_hash = model_hash
        self.card = dict(card or {})
        self.precision = precision

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def to(self, device: str | torch.device) -> "Assessor":
        """Move the weights; returns the assessor itself.

        Args:
            device: As PyTorch names it: ``cpu``, ``cuda``, ``cuda:1``.

        Raises:
            DeviceError: There is no such device here.
        """
        self.network.to(find_device(device))
        return self

    def score(
        self,
        waveform: Waveform,
        sample_rate: SupportsIndex,
        *,
        lengths: Sequence[int] | Waveform | None = None,
        metrics: Collection[str] | None = None,
    ) -> dict[str, Float[Tensor, " batch"]]:
        """Score recordings of any length.

        Beyond the waveform, its copy at the model's rate where that is another, and one more where
        digital silence is cut from its ends, memory is that of one window.

        Args:
            waveform: ``(samples,)`` or ``(batch, samples)``, floating point, full scale at ±1. Like
                all below 1 s, what is under 25 ms is repeated to fill a second; as a file it would
                be refused, since its scores say little.
            sample_rate: Its rate in Hz.
            lengths: Samples of each recording where the batch is padded.
            metrics: Metrics wanted; all when None.

        Returns:
            Scores of each recording in the metric's unit, inside its range; no gradient.

        Raises:
            TypeError: The waveform is no array or tensor, or the rate no whole number.
            ValueError: The waveform is empty, not finite, masked in part, or has another shape or
                sample type, or the rate cannot be one.
            UnknownMetricError: The model does not predict one of the metrics.
        """
        with self.inference():
            batch, batch_lengths = self._prepare(waveform, sample_rate, lengths)
            scores = windowed_scores(
                self.network, batch, batch_lengths, metrics=metrics, sample_rate=self.sample_rate
            )
        # What was made in inference mode may not enter a computation with gradient; copies may.
        return {metric: score.clone() for metric, score in scores.items()}

    def compare(self, a: Waveform, b: Waveform, sample_rate: SupportsIndex) -> Preference:
        """Compare two recordings; comparing them in the other order gives the exact mirror.

        Recordings beyond one window meet window by window, like parts in time; where one has fewer
        windows, they are repeated in place. The result is the mean over the meetings, each weighted
        by the time that its two windows stand for.

        Args:
            a: One recording, ``(samples,)``.
            b: The other, of any length.
            sample_rate: Rate of both in Hz.

        Raises:
            TypeError: A waveform is no array or tensor, or the rate no whole number.
            ValueError: A waveform cannot be scored, or the model has no preference head or finds
                none that is finite.
        """
        with self.inference():
            met = meet(self.windows(a, sample_rate), self.windows(b, sample_rate))
            preferences, weights_s = [], []
            for (window_a, weight_a_s), (window_b, weight_b_s) in met:
                preferences.append(self._compare_windows(window_a, window_b))
                weights_s.append((weight_a_s + weight_b_s) / 2)
        return average_preferences(preferences, weights_s)

    def score_files(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        metrics: Sequence[str] | None = None,
        batch_seconds: float | None = None,
        workers: int = 2,
    ) -> "Iterator[Row]":
        """Score files and folders: one row each, in order, as they are done.

        A recording that cannot be read or scored gives a failed row with the reason.

        Args:
            paths: Files, and folders to search for audio.
            metrics: Metrics wanted; all when None.
            batch_seconds: Bound on a batch in padded seconds; one that suits the device when None.
            workers: Threads that decode ahead of the model.

        Raises:
            UnknownMetricError: The model does not predict one of the metrics.
            AudioError: A folder holds no audio.
            TypeError: ``workers`` is no whole number.
            ValueError: A bound is out of range.
        """
        # By name: scoring stands above the model and imports it.
        scoring = importlib.import_module("urgentmos.scoring")
        rows: Iterator[Row] = scoring.score_files(
            self, paths, metrics=metrics, batch_seconds=batch_seconds, workers=workers
        )
        return rows

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """Compute without gradient and in this precision, in a training loop of another too."""
        leave_lost_threads()
        halved = self.precision == "bfloat16"
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=halved),
            without_tf32() if self.device.type == "cuda" else contextlib.nullcontext(),
            with_whole_products(),
        ):
            yield

    def windows(
        self, waveform: Waveform, sample_rate: SupportsIndex
    ) -> list[tuple[Float[Tensor, "1 samples"], float]]:
        """Cut one recording into the windows that are compared.

        Args:
            waveform: ``(samples,)``.
            sample_rate: Its rate in Hz.

        Returns:
            Each window at the model's rate, and the time in seconds that it stands for.

        Raises:
            ValueError: The waveform cannot be compared.
        """
        _check_type(waveform)
        if waveform.ndim != 1:
            raise ValueError(
                f"expected one recording of shape (samples,), got {tuple(waveform.shape)}"
            )
        recording, _ = drop_edge_silence(*self._prepare(waveform, sample_rate, None))
        stretches = plan_windows(recording.shape[1], sample_rate=self.sample_rate)
        return [(recording[:, start:end], weight_s) for start, end, weight_s in stretches]

    def _compare_windows(
        self, a: Float[Tensor, "1 samples_a"], b: Float[Tensor, "1 samples_b"]
    ) -> Preference:
        # Each alone: in one batch, rounding could depend on which of the two comes first.
        frames_a, mask_a = self.preference_frames(a)
        frames_b, mask_b = self.preference_frames(b)
        forward = self.network.compare_frames(frames_a, mask_a, frames_b, mask_b)
        backward = self.network.compare_frames(frames_b, mask_b, frames_a, mask_a)
        return combine_orders(
            _probabilities(forward.logits),
            _probabilities(backward.logits),
            cmos_forward=float(forward.cmos),
            cmos_backward=float(backward.cmos),
        )

    def preference_frames(
        self, window: Float[Tensor, "1 samples"]
    ) -> tuple[Float[Tensor, "1 frames dim"], Bool[Tensor, "1 frames"]]:
        """Encode a window for the preference head; True marks its real frames."""
        length = torch.tensor([window.shape[1]], device=window.device)
        return self.network.preference_frames(*drop_edge_silence(window, length))

    def _prepare(
        self,
        waveform: Waveform,
        sample_rate: SupportsIndex,
        lengths: Sequence[int] | Waveform | None,
    ) -> tuple[Float[Tensor, "batch samples"], Int[Tensor, " batch"]]:
        sample_rate = check_rate(sample_rate)
        batch = _as_batch(waveform).to(self.device)
        batch_lengths = as_lengths(lengths, batch)
        if lengths is not None:
            batch = batch.masked_fill(~lengths_to_mask(batch_lengths, batch.shape[1]), 0.0)
        # Not abs(), which would copy an hour.
        peak, shape = max(-float(batch.amin()), float(batch.amax())), tuple(waveform.shape)
        if math.isnan(peak) or (math.isinf(peak) and _has_infinite(waveform)):
            raise ValueError(f"the waveform of shape {shape} has NaN or infinite samples")
        if peak > MAX_LEVEL:
            # Beyond 32 bits, whose largest number is told instead.
            level = f"more than {_LARGEST:.1e}" if math.isinf(peak) else f"{peak:.1e}"
            raise ValueError(
                f"the waveform of shape {shape} has samples of {level}: full scale is 1"
            )
        if sample_rate != self.sample_rate:
            # Silence first: resampling would let the first sound ring into it.
            batch, batch_lengths = resample_as_files(
                *drop_edge_silence(batch, batch_lengths),
                from_rate=sample_rate,
                to_rate=self.sample_rate,
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

    Raises:
        ValueError: What is said is not finite.
    """
    p_a = (forward[0] + backward[2]) / 2
    p_tie = (forward[1] + backward[1]) / 2
    p_b = (forward[2] + backward[0]) / 2
    cmos = (cmos_forward - cmos_backward) / 2
    if not all(map(math.isfinite, (p_a, p_tie, p_b, cmos))):
        raise ValueError(
            f"no finite preference: P(A better) {p_a}, P(tie) {p_tie}, P(B better) {p_b}, CMOS "
            f"{cmos}"
        )
    return Preference(p_a, p_tie, p_b, cmos, verdict_of(p_a, p_tie, p_b))


def average_preferences(
    preferences: Sequence[Preference], weights_s: Sequence[float]
) -> Preference:
    """Average what was said about parts of two recordings.

    Args:
        preferences: One for each meeting of two parts.
        weights_s: Time that each stands for.
    """
    if len(preferences) == 1:
        return preferences[0]
    total_s = sum(weights_s)
    p_a, p_tie, p_b, cmos = (
        sum(weight * value for weight, value in zip(weights_s, values, strict=True)) / total_s
        for values in zip(*((p.p_a, p.p_tie, p.p_b, p.cmos) for p in preferences), strict=True)
    )
    return Preference(p_a, p_tie, p_b, cmos, verdict_of(p_a, p_tie, p_b))


def _probabilities(logits: Float[Tensor, "1 3"]) -> tuple[float, float, float]:
    # Here, with the digits of a double, which Apple's GPUs lack.
    values = logits[0].tolist()
    a, tie, b = (math.exp(value - max(values)) for value in values)
    total = a + tie + b
    return a / total, tie / total, b / total


def _check_type(waveform: object) -> None:
    if not isinstance(waveform, np.ndarray | Tensor):
        raise TypeError(
            f"expected a waveform as a NumPy array or a tensor, got {type(waveform).__name__}"
        )


def _as_batch(waveform: Waveform) -> Float[Tensor, "batch samples"]:
    _check_type(waveform)
    shape = tuple(waveform.shape)
    if waveform.ndim not in (1, 2) or has_channels_last(shape):
        raise ValueError(
            f"expected a waveform of shape (samples,) or (batch, samples), got {shape}"
            + channel_hint(shape)
        )
    if math.prod(shape) == 0:
        raise ValueError(f"the waveform is empty: its shape is {shape}")
    if not _is_floating_point(waveform):
        raise ValueError(
            f"expected a floating-point waveform with full scale at 1, got {waveform.dtype} of "
            f"shape {shape}; divide 16-bit samples by 32768 first"
        )
    if np.ma.is_masked(waveform):
        raise ValueError(
            f"the waveform of shape {shape} has samples that are masked: state their values, as "
            "with waveform.filled(0)"
        )
    tensor = _as_tensor(waveform) if isinstance(waveform, np.ndarray) else waveform
    return tensor.reshape(-1, shape[-1]).to(torch.float32)


def _has_infinite(waveform: Waveform) -> bool:
    infinite = np.isinf(waveform) if isinstance(waveform, np.ndarray) else waveform.isinf()
    return bool(infinite.any())


def _is_floating_point(waveform: Waveform) -> bool:
    if isinstance(waveform, np.ndarray):
        return waveform.dtype.kind == "f"
    return waveform.is_floating_point()


def _as_tensor(waveform: NDArray[Any]) -> Tensor:
    if waveform.dtype not in _FLOATS:
        # Of the other byte order, or of more bits than torch has. What becomes infinite is refused.
        with np.errstate(over="ignore"):
            waveform = waveform.astype(np.float32)
    # torch takes no negative strides, and warns of arrays that may not be written.
    waveform = np.require(waveform, requirements=["C", "W"])
    # Not as_tensor, which moves it to torch's default device.
    return torch.from_numpy(waveform)


def has_channels_last(shape: Sequence[int]) -> bool:
    """Whether an array is (samples, channels), as soundfile reads them, and no (batch, samples)."""
    return len(shape) == 2 and 0 < shape[1] <= _MOST_CHANNELS < shape[0]


def channel_hint(shape: Sequence[int]) -> str:
    """Say what to do about the channels of an array; nothing where it seems to have none."""
    if has_channels_last(shape):
        return (
            ", which looks like (samples, channels): average the channels, as with waveform.mean(1)"
        )
    if len(shape) != 3:
        return ""
    axis = 2 if shape[2] <= _MOST_CHANNELS < shape[1] else 1
    if shape[axis] == 1:
        return f"; squeeze({axis}) takes away an axis of one channel"
    return f"; average the channels, as with waveform.mean({axis})"


def as_lengths(
    lengths: Sequence[int] | Waveform | None, batch: Float[Tensor, "batch samples"]
) -> Int[Tensor, " batch"]:
    """Give the samples of each recording as a tensor beside the batch.

    Args:
        lengths: What a caller stated, wherever it is; None where nothing is padded.
        batch: The padded recordings.

    Raises:
        ValueError: They are not one whole number for each recording, or do not fit the batch.
    """
    num_recordings, samples = batch.shape
    if lengths is None:
        return torch.full((num_recordings,), samples, device=batch.device)
    try:
        tensor = torch.as_tensor(lengths, device=batch.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"expected {num_recordings} whole numbers as lengths, got {lengths!r}"
        ) from error
    is_whole = not tensor.is_floating_point() and not tensor.is_complex()
    if tensor.shape != (num_recordings,) or not is_whole or tensor.dtype == torch.bool:
        raise ValueError(
            f"expected {num_recordings} whole numbers as lengths, got shape {tuple(tensor.shape)} "
            f"of {tensor.dtype}"
        )
    # First, since unsigned types beyond 8 bits have no minimum.
    whole = tensor.long()
    check_lengths(whole, samples)
    return whole
