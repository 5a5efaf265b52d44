"""Resampling that gradient passes through: windowed sinc, in torch."""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# Zero crossings of the sinc on either side, the window's shape, and the cut-off as a share of the
# lower Nyquist frequency. Together: flat within 0.01 dB up to 0.88 of that frequency, and 80 dB
# down from there on.
_ZERO_CROSSINGS = 48
_KAISER_BETA = 9.0
_ROLL_OFF = 0.94
# Output phases computed by one convolution. More would widen its kernel, and most of a wide kernel
# is zero.
_PHASES_AT_ONCE = 32
# Seconds resampled at once, and on either side of them what the filter still hears.
_PIECE_S, _CONTEXT_S = 60, 2


def resampled_length(num_samples: int, *, from_rate: int, to_rate: int) -> int:
    """Count the samples after resampling: ``ceil(samples * to_rate / from_rate)``."""
    return -(-num_samples * to_rate // from_rate)


def resample(
    waveform: Float[Tensor, "*channels samples"], *, from_rate: int, to_rate: int
) -> Float[Tensor, "*channels out_samples"]:
    """Change the sample rate without moving the signal in time.

    Samples outside the waveform count as zero. Differentiable.

    Args:
        waveform: Samples at ``from_rate``.
        from_rate: Hz.
        to_rate: Hz.

    Returns:
        ``ceil(samples * to_rate / from_rate)`` samples.

    Raises:
        ValueError: A rate is not positive.
    """
    _check_rates(from_rate, to_rate)
    if from_rate == to_rate:
        return waveform
    divisor = math.gcd(from_rate, to_rate)
    # Output sample q * up + i stands at input position q * down + i * down / up.
    up, down = to_rate // divisor, from_rate // divisor
    cutoff = _ROLL_OFF * min(1.0, up / down)
    half_width = math.ceil(_ZERO_CROSSINGS / cutoff)
    samples = waveform.shape[-1]
    out_samples = resampled_length(samples, from_rate=from_rate, to_rate=to_rate)
    num_steps = -(-out_samples // up)
    padded = functional.pad(
        waveform.reshape(-1, 1, samples),
        (half_width, max(0, num_steps * down + half_width + 1 - samples)),
    )
    outputs = []
    for first in range(0, up, _PHASES_AT_ONCE):
        phases = np.arange(first, min(first + _PHASES_AT_ONCE, up), dtype=np.float64)
        positions = phases * down / up
        start, last = int(positions[0]), int(positions[-1])
        taps = np.arange(start - half_width, last + half_width + 2, dtype=np.float64)
        kernel = _windowed_sinc(taps - positions[:, None], cutoff=cutoff, half_width=half_width)
        # Rounded before it becomes a tensor: Apple's GPUs have no float64.
        precision = np.float64 if waveform.dtype == torch.float64 else np.float32
        weight = torch.from_numpy(kernel.astype(precision)).to(waveform)
        # The first tap, input sample start - half_width, lies at index start of the padded input.
        with torch.autocast(waveform.device.type, enabled=False):
            # A sample has 16 bits and more, bfloat16 keeps eight.
            phases_out = functional.conv1d(padded[..., start:], weight[:, None], stride=down)
        outputs.append(phases_out[..., :num_steps])
    interleaved = torch.cat(outputs, dim=1).transpose(1, 2).flatten(1)
    return interleaved[:, :out_samples].reshape(*waveform.shape[:-1], out_samples)


def resample_in_pieces(
    waveform: Float[Tensor, "*channels samples"], *, from_rate: int, to_rate: int
) -> Float[Tensor, "*channels out_samples"]:
    """Resample as `resample` does, a minute at a time: a convolution takes several copies.

    Args:
        waveform: Samples at ``from_rate``.
        from_rate: Hz.
        to_rate: Hz.

    Raises:
        ValueError: A rate is not positive.
    """
    _check_rates(from_rate, to_rate)
    pieces = []
    for start_s in range(0, math.ceil(waveform.shape[-1] / from_rate), _PIECE_S):
        before_s = min(start_s, _CONTEXT_S)
        first, last = start_s - before_s, start_s + _PIECE_S + _CONTEXT_S
        piece = waveform[..., first * from_rate : last * from_rate]
        resampled = resample(piece, from_rate=from_rate, to_rate=to_rate)
        pieces.append(resampled[..., before_s * to_rate : (before_s + _PIECE_S) * to_rate])
    return torch.cat(pieces, dim=-1)


def _check_rates(from_rate: int, to_rate: int) -> None:
    if from_rate <= 0 or to_rate <= 0:
        raise ValueError(f"expected positive sample rates, got {from_rate} and {to_rate} Hz")


def _windowed_sinc(
    offsets: Float[NDArray[np.float64], "phases taps"], *, cutoff: float, half_width: int
) -> Float[NDArray[np.float64], "phases taps"]:
    inside = np.maximum(1 - np.square(offsets / half_width), 0.0)
    window = np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA)
    kernel: NDArray[np.float64] = cutoff * np.sinc(cutoff * offsets) * window * (inside > 0)
    return kernel
