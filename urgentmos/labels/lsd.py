"""LSD: log-spectral distance, as the URGENT challenges compute it."""

import numpy as np
from jaxtyping import Float

from urgentmos.labels.labeller import (
    SAMPLE_RATE,
    Waveform,
    require_aligned_reference,
    require_sound,
)
from urgentmos.labels.scaling import scale_to_reference
from urgentmos.ndarray import NDArray

WINDOW_SAMPLES = round(0.032 * SAMPLE_RATE)
HOP_SAMPLES = round(0.016 * SAMPLE_RATE)
_EPSILON = 1e-8


class Lsd:
    """Log-spectral distance: natural log of the power ratio, root mean square over frequency.

    The recording is first scaled to the reference by least squares; the mean is over time.
    """

    metrics = ("lsd",)
    version = "urgentmos 1, 32 ms Hann, 16 ms hop"

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute the LSD of one recording.

        Raises:
            LabelError: No or silent reference, or a silent recording.
        """
        reference = require_aligned_reference(recording, reference)
        require_sound(recording)
        scaled = scale_to_reference(recording, reference)
        power = _magnitude(reference.astype(np.float64)) ** 2
        other_power = (_magnitude(scaled) + _EPSILON) ** 2
        log_ratio = np.log(power / other_power + _EPSILON)
        return {"lsd": float(np.sqrt((log_ratio**2).mean(axis=1)).mean())}


def _magnitude(
    waveform: Float[NDArray[np.float64], " samples"],
) -> Float[NDArray[np.float64], "frames bins"]:
    # Centred frames, zeros beyond the ends; the periodic Hann window.
    padded = np.pad(waveform, WINDOW_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1]
    return np.abs(np.fft.rfft(frames * window, axis=1))
