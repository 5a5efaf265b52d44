"""MCD: mel-cepstral distortion along a dynamic time warping path."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from urgentmos.labels.labeller import (
    SAMPLE_RATE,
    LabelError,
    ReferenceCache,
    Waveform,
    require_aligned_reference,
    require_sound,
)
from urgentmos.labels.mel_cepstrum import Cepstra, mel_cepstrum
from urgentmos.labels.scaling import scale_to_reference
from urgentmos.ndarray import NDArray

FRAME_SAMPLES = 1024
HOP_SAMPLES = 256
ORDER = 23
ALPHA = 0.42
"""Order and all-pass constant for 16 kHz."""
MAX_SAMPLES = 60 * SAMPLE_RATE
_PERIODOGRAM_FLOOR = 1e-6
_TO_DB = 10.0 / np.log(10.0)
# Of unit energy, as SPTK's: the floor is meant for it, and would be 26 dB too low under one that
# peaks at 1, so that inaudible silence would make up most of the distance.
_WINDOW = np.hamming(FRAME_SAMPLES) / np.linalg.norm(np.hamming(FRAME_SAMPLES))


class Mcd:
    """Mel-cepstral distortion (dB), c0 included, on the mel-cepstra of SPTK's ``mcep``.

    The recording is first scaled to the reference by least squares. The warping path is the exact
    one, where the URGENT scripts use the approximate ``fastdtw``. The scale asks for recordings
    that are aligned, in spite of the path: of others least squares makes next to silence.
    """

    metrics = ("mcd",)

    version = f"urgentmos 2, SPTK mcep, order {ORDER}, alpha {ALPHA}, exact DTW"

    def __init__(self) -> None:
        """Start with no reference."""
        self._reference_cepstra = ReferenceCache(_mel_cepstra)

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute the MCD of one recording.

        Raises:
            LabelError: No or silent reference, silent recording, under 64 ms or over 60 s.
        """
        reference = require_aligned_reference(recording, reference)
        require_sound(recording)
        theirs = self._reference_cepstra.get(reference)
        ours = _mel_cepstra(scale_to_reference(recording, reference))
        distance = _distances(ours, theirs)
        rows, columns = warping_path(distance)
        return {"mcd": float(np.mean(_TO_DB * np.sqrt(2.0) * distance[rows, columns]))}


def _mel_cepstra(waveform: Float[NDArray[np.floating[Any]], " samples"]) -> Cepstra:
    # The warping path takes memory with the square of the length.
    if len(waveform) > MAX_SAMPLES:
        raise LabelError(f"too long for MCD: {len(waveform)} samples, at most {MAX_SAMPLES}")
    if len(waveform) < FRAME_SAMPLES:
        raise LabelError(
            f"too short for MCD: {len(waveform)} samples, expected at least {FRAME_SAMPLES}"
        )
    views = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), FRAME_SAMPLES)
    frames = views[::HOP_SAMPLES] * _WINDOW
    try:
        return mel_cepstrum(frames, order=ORDER, alpha=ALPHA, floor=_PERIODOGRAM_FLOOR)
    except np.linalg.LinAlgError as error:
        raise LabelError(f"MCD: no mel-cepstrum ({error})") from error


def _distances(a: Cepstra, b: Cepstra) -> Float[NDArray[np.float64], "a_frames b_frames"]:
    # Not |a|² + |b|² - 2ab: the distance of equal frames has to be 0.
    squared = np.zeros((len(a), len(b)))
    for ours, theirs in zip(a.T, b.T, strict=True):
        squared += np.subtract.outer(ours, theirs) ** 2
    return np.sqrt(squared)


def warping_path(
    distance: Float[NDArray[np.float64], "rows columns"],
) -> tuple[Int[NDArray[np.int64], " steps"], Int[NDArray[np.int64], " steps"]]:
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
