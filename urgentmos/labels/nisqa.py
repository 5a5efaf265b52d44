"""NISQA: overall quality (Mittag et al. 2021), without a reference."""

import importlib
from typing import Any

import torch

from urgentmos.extras import MissingExtraError, require
from urgentmos.labels.labeller import (
    SAMPLE_RATE,
    LabelError,
    Waveform,
    package_version,
    require_sound,
)


class Nisqa:
    """NISQA v2.0 by ``torchmetrics``, which fetches its weights once.

    The weights are CC BY-NC-SA 4.0: labels made with them may not enter anything sold.
    """

    metrics = ("nisqa_mos",)

    def __init__(self) -> None:
        """State the version."""
        self.version = f"{package_version('torchmetrics')}, v2.0"

    def label(self, recording: Waveform, reference: Waveform | None = None) -> dict[str, float]:
        """Compute NISQA's overall MOS of one recording; the reference is not used.

        Raises:
            LabelError: The recording is silent or shorter than one of its segments.
            MissingExtraError: The package or its weights are not here and cannot be fetched.
        """
        require_sound(recording)
        nisqa = require("torchmetrics.functional.audio.nisqa", extra="labels")
        try:
            scores = nisqa.non_intrusive_speech_quality_assessment(
                torch.from_numpy(recording), SAMPLE_RATE
            )
        except _network_error() as error:
            raise MissingExtraError(
                f"NISQA's weights cannot be fetched ({error}); download nisqa.tar of "
                "github.com/gabrielmittag/NISQA, folder weights, to ~/.torchmetrics/NISQA"
            ) from error
        except RuntimeError as error:
            raise LabelError(f"NISQA: {error}") from error
        return {"nisqa_mos": float(scores[0])}


def _network_error() -> Any:
    # torchmetrics downloads with requests, whose errors are OSErrors but not ConnectionErrors.
    return importlib.import_module("requests").RequestException
