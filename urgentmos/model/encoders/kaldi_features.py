"""Kaldi's log-mel filter bank as wav2vec2-BERT hears it, with gradient to the waveform.

Equal to ``SeamlessM4TFeatureExtractor`` of transformers, which goes through numpy: 16-bit scale,
Povey window of 400 samples, hop of 160, no padding, each frame without its mean and pre-emphasised,
power, mel filters, floor, natural logarithm; each band to zero mean and unit variance over the
recording; two frames stacked. All in double precision, on devices that have it; the extractor takes
the last mean and variance in single, which alone makes a difference of up to 4e-6 on speech.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from urgentmos.extras import require
from urgentmos.masks import lengths_to_mask
from urgentmos.ndarray import NDArray
from urgentmos.rates import SAMPLE_RATE

WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
_FFT_SAMPLES = 512
_SCALE = 2.0**15
_PRE_EMPHASIS = 0.97
_POWER_FLOOR = 1.192092955078125e-07
_VARIANCE_FLOOR = 1e-7
WITHOUT_FLOAT64 = ("mps",)
"""Kinds of device that have no double precision: Apple's GPUs."""


class KaldiFeatures(nn.Module):
    """Waveforms at 16 kHz to stacked, normalised log-mel features."""

    def __init__(self, num_bands: int) -> None:
        """Make window and filters."""
        super().__init__()
        num_bins = _FFT_SAMPLES // 2 + 1
        if num_bands > num_bins:
            raise ValueError(f"{num_bands} mel bands are too many for {num_bins} frequency bins")
        audio_utils = require("transformers.audio_utils", extra="encoders")
        filters = audio_utils.mel_filter_bank(
            num_frequency_bins=num_bins,
            num_mel_filters=num_bands,
            min_frequency=20,
            max_frequency=8000,
            sampling_rate=SAMPLE_RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        window = audio_utils.window_function(WINDOW_SAMPLES, "povey", periodic=False)
        # No buffers, which a device without float64 could not take: rounded to single precision,
        # they would move features by up to 2e-4.
        self._window = np.asarray(window, dtype=np.float64)
        self._mel_filters = np.asarray(filters, dtype=np.float64)

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames features"], Int[Tensor, " batch"]]:
        """Compute the features of each recording and count its valid frames.

        Args:
            waveform: Zero beyond each recording's length.
            lengths: Samples of each recording, at least two frames.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            log_mel = self._log_mel(waveform.to(_precision(waveform.device)) * _SCALE)
            frames = torch.div(lengths - WINDOW_SAMPLES, HOP_SAMPLES, rounding_mode="floor") + 1
            normed = _normalise_bands(log_mel, frames).to(waveform.dtype)
        pairs = normed.shape[1] // 2
        stacked = normed[:, : 2 * pairs].reshape(len(normed), pairs, -1)
        return stacked, torch.div(frames, 2, rounding_mode="floor")

    def _log_mel(
        self, waveform: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch frames bands"]:
        framed = waveform.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)
        framed = framed - framed.mean(dim=2, keepdim=True)
        # The first sample of a frame has no neighbour but itself.
        previous = torch.cat((framed[..., :1], framed[..., :-1]), dim=2)
        emphasised = (framed - _PRE_EMPHASIS * previous) * _constant(self._window, waveform)
        padded = functional.pad(emphasised, (0, _FFT_SAMPLES - WINDOW_SAMPLES))
        spectrum = torch.fft.rfft(padded)
        power = spectrum.real.square() + spectrum.imag.square()
        mel_power: Tensor = power @ _constant(self._mel_filters, power)
        return mel_power.clamp_min(_POWER_FLOOR).log()


def _precision(device: torch.device) -> torch.dtype:
    # The logarithm magnifies what single precision loses in weak bands beside strong ones.
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def _constant(values: NDArray[np.float64], like: Tensor) -> Tensor:
    precision = np.float64 if like.dtype == torch.float64 else np.float32
    return torch.from_numpy(values.astype(precision)).to(like)


def _normalise_bands(
    log_mel: Float[Tensor, "batch frames bands"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch frames bands"]:
    mask = lengths_to_mask(lengths, log_mel.shape[1])[..., None]
    count = lengths[:, None, None]
    mean = (log_mel * mask).sum(dim=1, keepdim=True) / count
    centred = (log_mel - mean) * mask
    # The unbiased variance, as the extractor has it.
    variance = centred.square().sum(dim=1, keepdim=True) / (count - 1)
    return centred * (variance + _VARIANCE_FLOOR).rsqrt()
