"""ESTOI: extended short-time objective intelligibility (Jensen and Taal 2016)."""

import warnings

import numpy as np

from urgentmos.extras import require
from urgentmos.labels.labeller import (
    SAMPLE_RATE,
    LabelError,
    Waveform,
    package_version,
    require_aligned_reference,
    require_sound,
)


class Estoi:
    """ESTOI by package ``pystoi``."""

    metrics = ("estoi",)

    def __init__(self) -> None:
        """State the version."""
        self.version = f"{package_version('pystoi')}, extended, seed 0"

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute ESTOI of one recording.

        Raises:
            LabelError: No or silent reference, silent recording, or fewer than 30 frames with
                speech.
        """
        reference = require_aligned_reference(recording, reference)
        require_sound(recording)
        stoi = require("pystoi", extra="labels").stoi
        state = np.random.get_state()  # noqa: NPY002 - pystoi draws from the global generator
        np.random.seed(0)  # noqa: NPY002
        try:
            with warnings.catch_warnings():
                # It warns, and returns 1e-5, where it has no value.
                warnings.simplefilter("error", RuntimeWarning)
                value = float(stoi(reference, recording, SAMPLE_RATE, extended=True))
        except (RuntimeWarning, ValueError) as error:
            # ValueError: shorter than one of its frames, there is nothing to stack.
            raise LabelError("ESTOI: fewer than 30 frames (0.4 s) with speech") from error
        finally:
            np.random.set_state(state)  # noqa: NPY002
        return {"estoi": value}
