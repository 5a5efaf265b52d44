import numpy as np
import pytest

from urgentmos.labels.mel_cepstrum import mel_cepstrum


def _frames(waveform: np.ndarray) -> np.ndarray:
    views = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), 1024)[::256]
    return np.ascontiguousarray(views * np.hamming(1024))


@pytest.mark.parametrize("level", [1e-4, 1.0])
def test_equals_sptk(package, reference: np.ndarray, level: float) -> None:
    frames = _frames(level * reference)
    expected = package("pysptk").mcep(frames, 23, 0.42, eps=1e-6, etype=1)
    ours = mel_cepstrum(frames, order=23, alpha=0.42, floor=1e-6)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_a_gain_moves_the_zeroth_coefficient_only(reference: np.ndarray) -> None:
    frames = _frames(reference)
    first = mel_cepstrum(frames, order=10, alpha=0.42, floor=1e-12)
    second = mel_cepstrum(np.e * frames, order=10, alpha=0.42, floor=np.e**2 * 1e-12)
    np.testing.assert_allclose(second[:, 0] - first[:, 0], 1.0, atol=1e-6)
    np.testing.assert_allclose(second[:, 1:], first[:, 1:], atol=1e-6)


def test_a_frame_does_not_depend_on_its_neighbours(reference: np.ndarray) -> None:
    frames = _frames(reference)
    together = mel_cepstrum(frames, order=23, alpha=0.42, floor=1e-6)
    alone = mel_cepstrum(frames[5:6], order=23, alpha=0.42, floor=1e-6)
    np.testing.assert_allclose(alone[0], together[5], atol=1e-9)
