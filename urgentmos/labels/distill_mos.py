"""Distill-MOS: a small Transformer's estimate of the mean opinion score, without a reference.

Weights and definition: package ``distillmos`` (Stahl and Gamper 2025).
"""

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from urgentmos.labels.labeller import LabelError, Waveform, package_version, require_sound
from urgentmos.model.encoders.distill_mos import (
    DistillMosConfig,
    DistillMosEncoder,
    build_distill_mos,
)
from urgentmos.precision import Precision

WINDOW_SAMPLES = 122_880
MAX_HOP_SAMPLES = 16_000
_MIN_SAMPLES = 400


class DistillMos:
    """Distill-MOS on 7.68 s windows, averaged.

    The network is the encoder of the same name, which computes the zeros that fill a window once
    and needs no torchaudio. Values equal the package's own forward pass to rounding (1e-5) in
    ``float32``. ``bfloat16`` runs the network under autocast: twice as fast where the processor has
    bfloat16 units, and off by up to 0.01.
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
            self._score(torch.from_numpy(window)[None]).item() for window in cut_windows(recording)
        ]
        return {"distill_mos": float(np.mean(scores))}

    @torch.inference_mode()
    def _score(self, window: Float[Tensor, "1 samples"]) -> Float[Tensor, " 1"]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._precision == "bfloat16"):
            output = self._encoder(window, torch.tensor([window.shape[1]]))
        score: Tensor = output.native_scores["distill_mos"]
        return score

    @cached_property
    def _encoder(self) -> DistillMosEncoder:
        return build_distill_mos(DistillMosConfig()).eval()


def cut_windows(recording: Waveform) -> list[Waveform]:
    """Cut a recording into the windows the package averages over.

    Windows of 7.68 s, evenly spaced so that the hop is at most 1 s and the last one ends with the
    recording. A shorter recording is one window.
    """
    excess = max(0, len(recording) - WINDOW_SAMPLES)
    num_windows = int(np.ceil(excess / MAX_HOP_SAMPLES)) + 1
    starts = [int(position * excess) for position in np.linspace(0, 1, num_windows)]
    return [recording[start : start + WINDOW_SAMPLES] for start in starts]
