"""The gain that brings a recording nearest to its reference."""

import numpy as np
from jaxtyping import Float64

from urgentmos.labels.labeller import Waveform
from urgentmos.ndarray import NDArray

_EPSILON = 1e-8


def scale_to_reference(
    recording: Waveform, reference: Waveform
) -> Float64[NDArray[np.float64], " samples"]:
    """Scale a recording to its reference by least squares."""
    wide = recording.astype(np.float64)
    gain = float(wide @ reference.astype(np.float64)) / (float(wide @ wide) + _EPSILON)
    return gain * wide
