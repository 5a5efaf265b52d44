"""SCOREQ: contrastive quality regression (Ragano et al. 2024), without a reference."""

import contextlib
import io
from functools import cached_property
from typing import Any
from urllib.error import URLError

import numpy as np

from urgentmos.extras import MissingExtraError, require
from urgentmos.labels.labeller import Waveform, package_version, require_sound

_STRIDE_SAMPLES = 320


class Scoreq:
    """SCOREQ for natural speech by package ``scoreq``, which fetches its ONNX file once."""

    metrics = ("scoreq",)

    def __init__(self) -> None:
        """State the version."""
        self.version = f"{package_version('scoreq')}, natural, no reference"

    def label(self, recording: Waveform, reference: Waveform | None = None) -> dict[str, float]:
        """Compute SCOREQ of one recording; the reference is not used.

        Raises:
            LabelError: The recording is silent.
            MissingExtraError: The package or its ONNX file is not here and cannot be fetched.
        """
        require_sound(recording)
        # The package pads to a whole number of the network's frames.
        padded = np.pad(recording, (0, -len(recording) % _STRIDE_SAMPLES))[None]
        name = self._session.get_inputs()[0].name
        return {"scoreq": float(self._session.run(None, {name: padded})[0].item())}

    @cached_property
    def _session(self) -> Any:
        module = require("scoreq.scoreq", extra="labels")
        try:
            # It prints its progress to standard output, where tables may go.
            with contextlib.redirect_stdout(io.StringIO()):
                return module.Scoreq(data_domain="natural", mode="nr").session
        except (URLError, ConnectionError, TimeoutError) as error:
            raise MissingExtraError(
                f"SCOREQ's network cannot be fetched ({error}); download adapt_nr_telephone.onnx "
                "of zenodo.org/records/15739280 to ~/.cache/scoreq/onnx-models"
            ) from error
