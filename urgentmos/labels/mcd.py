"""MCD: mel-cepstral distortion along a dynamic time warping path."""

import warnings

import numpy as np
from jaxtyping import Float, Int

from urgentmos.extras import require
from urgentmos.labels.labeller import (
    LabelError,
    ReferenceCache,
    Waveform,
    package_version,
    require_reference,
    require_sound,
)
from urgentmos.labels.scaling import scale_to_reference

FRAME_SAMPLES = 1024
HOP_SAMPLES = 256
ORDER = 23
ALPHA = 0.42
"""Order and all-pass constant for 16 kHz."""
_PERIODOGRAM_FLOOR = 1e-6
_TO_DB = 10.0 / np.log(10.0)

Cepstra = Float[np.ndarray, "frames coefficients"]


class Mcd:
    """Mel-cepstral distortion (dB), c0 included, by ``pysptk.mcep``.

    The recording is first scaled to the reference by least squares. The warping path is the exact
    one, where the URGENT scripts use the approximate ``fastdtw``.
    """

    metrics = ("mcd",)

    def __init__(self) -> None:
        """State the version."""
        self.version = f"{package_version('pysptk')}, order {ORDER}, alpha {ALPHA}, exact DTW"
        self._reference_cepstra = ReferenceCache(_mel_cepstra)

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute the MCD of one recording.

        Raises:
            LabelError: No or silent reference, silent recording, under 64 ms, or a frame without a
                mel-cepstrum.
        """
        reference = require_reference(recording, reference)
        require_sound(recording)
        theirs = self._reference_cepstra.get(reference)
        ours = _mel_cepstra(scale_to_reference(recording, reference))
        distance = _distances(ours, theirs)
        rows, columns = warping_path(distance)
        return {"mcd": float(np.mean(_TO_DB * np.sqrt(2.0) * distance[rows, columns]))}


def _mel_cepstra(waveform: Float[np.ndarray, " samples"]) -> Cepstra:
    with warnings.catch_warnings():
        # pysptk imports pkg_resources, which is deprecated.
        warnings.simplefilter("ignore")
        pysptk = require("pysptk", extra="labels")
    if len(waveform) < FRAME_SAMPLES:
        raise LabelError(
            f"too short for MCD: {len(waveform)} samples, expected at least {FRAME_SAMPLES}"
        )
    views = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), FRAME_SAMPLES)
    frames = np.ascontiguousarray(views[::HOP_SAMPLES] * np.hamming(FRAME_SAMPLES))
    try:
        cepstra: Cepstra = pysptk.mcep(frames, ORDER, ALPHA, eps=_PERIODOGRAM_FLOOR, etype=1)
    except RuntimeError as error:
        raise LabelError(f"MCD: no mel-cepstrum ({error})") from error
    return cepstra


def _distances(a: Cepstra, b: Cepstra) -> Float[np.ndarray, "a_frames b_frames"]:
    # Not |a|² + |b|² - 2ab: the distance of equal frames has to be 0.
    return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2))


def warping_path(
    distance: Float[np.ndarray, "rows columns"],
) -> tuple[Int[np.ndarray, " steps"], Int[np.ndarray, " steps"]]:
    """Find the cheapest path from corner to corner with steps right, down and diagonally.

    Args:
        distance: Cost of every cell.

    Returns:
        Row and column of each cell on the path; on equal cost the diagonal step is taken.
    """
    num_rows, num_columns = distance.shape
    # One more row and column of infinity, so that no step needs a border case. Cells of one
    # anti-diagonal do not depend on each other: each is one numpy operation.
    total = np.full((num_rows + 1, num_columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(num_rows + num_columns - 1):
        rows = np.arange(max(0, diagonal - num_columns + 1), min(num_rows, diagonal + 1))
        columns = diagonal - rows
        before = np.minimum(total[rows, columns + 1], total[rows + 1, columns])
        before = np.minimum(before, total[rows, columns])
        total[rows + 1, columns + 1] = distance[rows, columns] + before
    row, column = num_rows, num_columns
    path = []
    while (row, column) != (0, 0):
        path.append((row - 1, column - 1))
        steps = ((row - 1, column - 1), (row - 1, column), (row, column - 1))
        row, column = min(steps, key=lambda step: total[step])
    cells = np.array(path[::-1])
    return cells[:, 0], cells[:, 1]
