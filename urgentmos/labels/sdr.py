"""SDR: signal-to-distortion ratio with a 512-tap filter allowed (Vincent et al. 2006)."""

import numpy as np

from urgentmos.extras import require
from urgentmos.labels.labeller import (
    LabelError,
    Waveform,
    package_version,
    require_aligned_reference,
    require_sound,
)

FILTER_TAPS = 512
CLAMP_DB = 50.0


class Sdr:
    """SDR (dB) by package ``fast_bss_eval``, clamped to ±50 dB."""

    metrics = ("sdr",)

    def __init__(self) -> None:
        """State the version."""
        version = package_version("fast_bss_eval")
        self.version = f"{version}, {FILTER_TAPS} taps, clamp {CLAMP_DB:g} dB, float64"

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute the SDR of one recording.

        Raises:
            LabelError: No or silent reference, silent recording, or the filter cannot be solved
                for (a reference such as a pure tone).
        """
        reference = require_aligned_reference(recording, reference)
        require_sound(recording)
        fast_bss_eval = require("fast_bss_eval", extra="labels")
        # Double precision: the normal equations of band-limited speech are nearly singular.
        # `sdr` without permutation is the first part of `bss_eval_sources`, at a third of the cost.
        try:
            value = fast_bss_eval.sdr(
                reference.astype(np.float64)[None],
                recording.astype(np.float64)[None],
                filter_length=FILTER_TAPS,
                clamp_db=CLAMP_DB,
            )
        except np.linalg.LinAlgError as error:
            raise LabelError(f"SDR: no unique filter ({error})") from error
        # The package's clamp is exact to rounding only.
        return {"sdr": float(np.clip(value[0], -CLAMP_DB, CLAMP_DB))}
