"""Frames that depend on a recording's own samples alone: spectra, and means of a few."""

import math

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from urgentmos.masks import divide_up, lengths_to_mask
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.rates import SAMPLE_RATE


def spectrum_of(*, window_ms: float, hop_ms: float) -> "Spectrum":
    """Make a spectrum of these times.

    Raises:
        ValueError: Frames would not move, or leave out what lies between them, or have no end.
    """
    if not math.isfinite(window_ms):
        raise ValueError(f"window_ms: expected a finite number, got {window_ms}")
    if not math.isfinite(hop_ms):
        raise ValueError(f"hop_ms: expected a finite number, got {hop_ms}")
    return Spectrum(
        window_samples=round(window_ms * SAMPLE_RATE / 1000),
        hop_samples=round(hop_ms * SAMPLE_RATE / 1000),
    )


def num_frames(lengths: Int[Tensor, " batch"], hop: int) -> Int[Tensor, " batch"]:
    """Count frames: one centred on every ``hop``-th sample, so ``ceil(samples / hop)``."""
    return divide_up(lengths, hop)


class Spectrum(nn.Module):
    """Hann-windowed complex short-time spectrum.

    Frames are centred and samples outside the recording are zero. Reflection would make the last
    frames of a lone recording differ from those of the same recording in a padded batch.
    """

    window: Tensor

    def __init__(self, *, window_samples: int, hop_samples: int) -> None:
        """Make the window; the transform is as long as the window.

        Raises:
            ValueError: Frames would not move, or leave out what lies between them.
        """
        super().__init__()
        if not 0 < hop_samples <= window_samples:
            raise ValueError(
                f"hop_ms: expected more than 0 and at most window_ms, got {hop_samples} of "
                f"{window_samples} samples"
            )
        self.window_samples = window_samples
        self.hop_samples = hop_samples
        self.num_bins = window_samples // 2 + 1
        self.register_buffer("window", torch.hann_window(window_samples), persistent=False)

    def forward(
        self, waveform: Float[Tensor, "batch samples"]
    ) -> Complex[Tensor, "batch frames bins"]:
        """Transform each frame."""
        samples = waveform.shape[1]
        frames = -(-samples // self.hop_samples)
        left = self.window_samples // 2
        right = (frames - 1) * self.hop_samples + self.window_samples - left - samples
        padded = functional.pad(waveform, (left, right))
        framed = padded.unfold(1, self.window_samples, self.hop_samples)
        spectrum: Tensor = torch.fft.rfft(framed * self.window)
        return spectrum


def log_power(
    spectrum: Complex[Tensor, "batch frames bins"], *, floor: float
) -> Float[Tensor, "batch frames bins"]:
    """Give the logarithm of the power and ``floor``.

    From it any power of the magnitude is one ``exp``: together a third of the time that raising to
    a power takes on a CPU.
    """
    return torch.log(spectrum.real.square() + spectrum.imag.square() + floor)


def average_frames(output: EncoderOutput, count: int) -> EncoderOutput:
    """Average every ``count`` consecutive valid frames; the last mean can be over fewer."""
    if count == 1:
        return output
    hidden, lengths, native_scores = output
    missing = -hidden.shape[2] % count
    mask = lengths_to_mask(lengths, hidden.shape[2] + missing)[:, None, :, None].to(hidden.dtype)
    hidden = functional.pad(hidden, (0, 0, 0, missing)) * mask
    batch, layers, frames, dim = hidden.shape
    totals = hidden.reshape(batch, layers, frames // count, count, dim).sum(dim=3)
    counted = mask.reshape(batch, 1, frames // count, count, 1).sum(dim=3).clamp_min(1.0)
    return EncoderOutput(totals / counted, divide_up(lengths, count), native_scores)
