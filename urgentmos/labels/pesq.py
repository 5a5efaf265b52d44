"""PESQ, wide band: ITU-T P.862.2, and with the input filter of its Corrigendum 2."""

import math
import warnings
from types import ModuleType
from typing import Literal

from urgentmos.extras import require
from urgentmos.labels.labeller import (
    INSTALL,
    SAMPLE_RATE,
    LabelError,
    Waveform,
    package_version,
    require_aligned_reference,
    require_sound,
)

NARROW_BAND_RATE = 8000

INSTALL_PESQC2 = (
    "pip install cython wheel && pip install --use-pep517 --no-cache-dir --no-build-isolation "
    "--no-deps pesqc2"
)
"""Its metadata asks for numpy 1, although its source runs with numpy 2."""


class Pesq:
    """PESQ by package ``pesq`` (or ``pesqc2``), 16 kHz wide band.

    A recording against itself gives 4.644. Where recording and reference are both files of 8 kHz,
    ``pesq`` is labelled with `narrow_band_pesq` instead, as in the URGENT scripts: another scale,
    on which a recording against itself gives 4.549. PESQ finds delays itself, but takes recording
    and reference to be the same moments: what one of them lacks is no delay.
    """

    def __init__(self, *, package: Literal["pesq", "pesqc2"] = "pesq") -> None:
        """Choose P.862.2 (``pesq``) or its Corrigendum 2 (``pesqc2``)."""
        self.metrics = (package,)
        install = INSTALL if package == "pesq" else INSTALL_PESQC2
        narrow = ", narrow band of 8 kHz files" if package == "pesq" else ""
        self.version = f"{package_version(package, install=install)}, 16 kHz wide band{narrow}"
        self._package = package

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute wide-band PESQ of one recording.

        Raises:
            LabelError: No reference, no utterance found in it, under 0.25 s, or silence.
        """
        reference = require_aligned_reference(recording, reference)
        require_sound(recording)
        module = require(self._package, extra="labels")
        return {self._package: _run(module, recording, reference, rate=SAMPLE_RATE, mode="wb")}


def narrow_band_pesq(recording: Waveform, reference: Waveform) -> float:
    """Compute narrow-band PESQ (P.862.1) of a recording at 8 kHz.

    Raises:
        LabelError: As `Pesq.label`.
    """
    require_aligned_reference(recording, reference)
    require_sound(recording)
    module = require("pesq", extra="labels")
    return _run(module, recording, reference, rate=NARROW_BAND_RATE, mode="nb")


def _run(
    module: ModuleType, recording: Waveform, reference: Waveform, *, rate: int, mode: str
) -> float:
    try:
        with warnings.catch_warnings():
            # Near silence the packages divide by zero; the NaN is caught below.
            warnings.simplefilter("ignore", RuntimeWarning)
            value = float(module.pesq(rate, reference, recording, mode))
    except module.NoUtterancesError as error:
        raise LabelError("PESQ found no utterance") from error
    except module.BufferTooShortError as error:
        raise LabelError(f"too short for PESQ: {len(recording)} samples, under 0.25 s") from error
    except module.PesqError as error:
        raise LabelError(f"PESQ failed: {error}") from error
    if math.isnan(value):
        raise LabelError("PESQ gave no number: the recording is as good as silent")
    return value
