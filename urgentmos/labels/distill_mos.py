"""Distill-MOS: a small Transformer's estimate of the mean opinion score, without a reference.

Weights and definition: package ``distillmos`` (Stahl and Gamper 2025).
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float
from torch import Tensor, nn

from urgentmos.extras import require
from urgentmos.labels.labeller import LabelError, Waveform, package_version, require_sound
from urgentmos.precision import Precision

WINDOW_SAMPLES = 122_880
MAX_HOP_SAMPLES = 16_000
_FFT_SAMPLES = 320
_HOP_SAMPLES = 160
_FRAMES = WINDOW_SAMPLES // _HOP_SAMPLES
# Six 3-wide convolutions see 6 frames to each side, and the STFT window one more. Twice that, and
# even, so that one output column between the sound and the window's end sees only zero padding.
_MARGIN_FRAMES = 8
_MIN_SAMPLES = 400


class DistillMos:
    """Distill-MOS on 7.68 s windows, averaged.

    Values equal the package's own forward pass to rounding (1e-5) in ``float32``. ``bfloat16``
    runs the network under autocast: twice as fast where the processor has bfloat16 units, and off
    by up to 0.01.
    """

    metrics = ("distill_mos",)

    def __init__(self, *, precision: Precision = "float32") -> None:
        """Choose the precision."""
        self.version = f"{package_version('distillmos')}, {precision}"
        self._precision = precision

    def label(self, recording: Waveform, reference: Waveform | None = None) -> dict[str, float]:
        """Compute Distill-MOS of one recording; the reference is not used.

        Raises:
            LabelError: The recording is silent or shorter than 25 ms.
        """
        require_sound(recording)
        if len(recording) < _MIN_SAMPLES:
            raise LabelError(
                f"too short: {len(recording)} samples, expected at least {_MIN_SAMPLES}"
            )
        # One window at a time: on a single core, larger batches are slower (0.12 s per 5 s clip
        # against 0.18 s in batches of 16), as the first layers then leave the cache.
        scores = [
            self._forward(torch.from_numpy(window)[None]).item()
            for window in cut_windows(recording)
        ]
        return {"distill_mos": float(np.mean(scores))}

    @torch.inference_mode()
    def _forward(self, windows: Float[Tensor, "batch samples"]) -> Float[Tensor, " batch"]:
        peak = windows.abs().amax(dim=1, keepdim=True)
        windows = windows / (peak + 1e-8)
        frames_kept = _frames_kept(windows.shape[1])
        spectrum = _compressed_spectrum(windows, num_frames=frames_kept)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._precision == "bfloat16"):
            features = self._model.cnn.cnn(spectrum).flatten(1, 2)
            features = _restore_padding(features, frames_kept=frames_kept)
            quality = self._model.transformer_pool_attn(features.transpose(1, 2))
        mos: Tensor = 1 + 4 * quality.float()
        return mos

    @cached_property
    def _model(self) -> Any:
        sqa = require("distillmos.sqa", extra="labels")
        # The package prints when it loads its own weights.
        model: Any = sqa.ConvTransformerSQAModel(load_weights=False)
        checkpoint = torch.load(  # noqa: TID251 - the package's own file; tensors only
            sqa.DEFAULT_WEIGHTS_CHKPT, map_location="cpu", weights_only=True
        )
        model.load_state_dict(checkpoint["model"])
        return model.eval().to(memory_format=torch.channels_last)


def cut_windows(recording: Waveform) -> list[Waveform]:
    """Cut a recording into the windows the package averages over.

    Windows of 7.68 s, evenly spaced so that the hop is at most 1 s and the last one ends with the
    recording. A shorter recording is one window.
    """
    excess = max(0, len(recording) - WINDOW_SAMPLES)
    num_windows = int(np.ceil(excess / MAX_HOP_SAMPLES)) + 1
    starts = [int(position * excess) for position in np.linspace(0, 1, num_windows)]
    return [recording[start : start + WINDOW_SAMPLES] for start in starts]


def _frames_kept(samples: int) -> int:
    """Frames that reach the convolutions: those with sound, and a margin for both edges.

    The package pads a window with zeros to 7.68 s. Convolution over those zeros gives one and the
    same column everywhere except near the sound and near the end, so it is computed once:

        frames     | sound ........ | margin | zeros, left out ...... | margin |
        columns    | kept                  c | copies of c            | kept   |
    """
    sounding = -(-samples // _HOP_SAMPLES) + 1
    kept = sounding + 2 * _MARGIN_FRAMES + 2
    return min(_FRAMES, kept + kept % 2)


def _compressed_spectrum(
    windows: Float[Tensor, "batch samples"], *, num_frames: int
) -> Float[Tensor, "batch 2 bins frames"]:
    padded = nn.functional.pad(windows, (0, num_frames * _HOP_SAMPLES - windows.shape[1]))
    overlap = (_FFT_SAMPLES - _HOP_SAMPLES) // 2
    spectrum: Complex64[Tensor, "batch bins frames"] = torch.stft(
        nn.functional.pad(padded, (overlap, overlap), mode="reflect"),
        n_fft=_FFT_SAMPLES,
        hop_length=_HOP_SAMPLES,
        window=torch.hann_window(_FFT_SAMPLES),
        center=False,
        return_complex=True,
    )
    parts = torch.view_as_real(spectrum)
    magnitude = parts.square().sum(dim=-1, keepdim=True).sqrt().clamp(min=1e-12)
    return (magnitude**0.3 * parts / magnitude).permute(0, 3, 1, 2)


def _restore_padding(
    features: Float[Tensor, "batch dim columns"], *, frames_kept: int
) -> Float[Tensor, "batch dim all_columns"]:
    # The last convolution halves the frame rate.
    missing = (_FRAMES - frames_kept) // 2
    if missing == 0:
        return features
    silent = frames_kept // 2 - _MARGIN_FRAMES // 2 - 1
    column = features[:, :, silent : silent + 1].expand(-1, -1, missing)
    return torch.cat((features[:, :, :silent], column, features[:, :, silent:]), dim=2)
