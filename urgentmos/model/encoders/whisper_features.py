"""Whisper's log-mel spectrogram, with gradient to the waveform.

Equal to ``WhisperFeatureExtractor`` of transformers, which goes through numpy: Hann window of 400
samples, hop of 160, centred frames with reflection at both ends, the last frame dropped, power,
Slaney mel filters, floor, base-10 logarithm, and 8 decades below the recording's maximum at most.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from urgentmos.extras import require
from urgentmos.masks import lengths_to_mask
from urgentmos.rates import SAMPLE_RATE

WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
# Reflection at the end of a recording needs one sample more than it reflects.
MIN_REFLECTED_SAMPLES = WINDOW_SAMPLES // 2 + 1
_POWER_FLOOR = 1e-10
_DECADES = 8.0


class WhisperFeatures(nn.Module):
    """Waveforms at 16 kHz to log-mel features."""

    window: Tensor
    mel_filters: Tensor

    def __init__(self, num_bands: int) -> None:
        """Make window and filters; Whisper has 80 bands, from large-v3 on 128, at most 201 fit."""
        super().__init__()
        num_bins = WINDOW_SAMPLES // 2 + 1
        if num_bands > num_bins:
            raise ValueError(f"{num_bands} mel bands are too many for {num_bins} frequency bins")
        filters = require("transformers.audio_utils", extra="encoders").mel_filter_bank(
            num_frequency_bins=num_bins,
            num_mel_filters=num_bands,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)
        self.register_buffer(
            "mel_filters", torch.from_numpy(filters).float().contiguous(), persistent=False
        )

    def forward(
        self, waveform: Float[Tensor, "batch samples"], ends: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch bands frames"]:
        """Compute the features of each recording.

        Args:
            waveform: Zero beyond each recording's length.
            ends: Samples after which each recording is reflected: its length, or the length to
                which silence pads it; at least ``MIN_REFLECTED_SAMPLES``.

        Returns:
            ``samples // 160`` frames; of a recording, ``end // 160`` are valid.
        """
        # Half precision cannot hold the range of a power spectrum.
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                _reflect(waveform, ends),
                WINDOW_SAMPLES,
                HOP_SAMPLES,
                window=self.window,
                center=False,
                return_complex=True,
            )[..., :-1]
            power = spectrum.real.square() + spectrum.imag.square()
            log_mel = (self.mel_filters.T @ power).clamp_min(_POWER_FLOOR).log10()
            valid = lengths_to_mask(
                torch.div(ends, HOP_SAMPLES, rounding_mode="floor"), log_mel.shape[2]
            )
            loudest = log_mel.masked_fill(~valid[:, None], -torch.inf).amax(dim=(1, 2))
            return (torch.maximum(log_mel, loudest[:, None, None] - _DECADES) + 4) / 4


def _reflect(
    waveform: Float[Tensor, "batch samples"], ends: Int[Tensor, " batch"]
) -> Float[Tensor, "batch padded"]:
    margin = WINDOW_SAMPLES // 2
    if bool((ends == waveform.shape[1]).all()):
        return functional.pad(waveform, (margin, margin), mode="reflect")
    position = torch.arange(-margin, waveform.shape[1] + margin, device=waveform.device).abs()
    last = (ends - 1)[:, None]
    # Beyond the reflected margin nothing is read: those frames are not valid.
    index = torch.where(position > last, 2 * last - position, position).clamp_min(0)
    return waveform.gather(1, index)
