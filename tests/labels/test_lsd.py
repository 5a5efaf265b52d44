import numpy as np
import pytest

from urgentmos.labels.lsd import Lsd


def test_is_zero_for_the_reference_at_any_level(reference: np.ndarray) -> None:
    assert Lsd().label(reference, reference)["lsd"] == pytest.approx(0.0, abs=1e-3)
    quieter = (0.25 * reference).astype(np.float32)
    assert Lsd().label(quieter, reference)["lsd"] == pytest.approx(0.0, abs=1e-3)


def test_equals_the_log_ratio_of_two_spectra_in_known_proportion() -> None:
    # White noise through a one-sample echo of gain g: the power ratio is |1 + g e^-jw|^2 / c^2 with
    # c the least-squares gain, about 1 as the echo is uncorrelated. Root mean square over frequency
    # of its natural log is sqrt(2 * sum (g^k / k)^2) for that cepstrum.
    generator = np.random.default_rng(0)
    reference = generator.standard_normal(400_000).astype(np.float32)
    gain = 0.5
    recording = reference.copy()
    recording[1:] += gain * reference[:-1]
    power = 1 + gain**2
    scale = 1 / power
    orders = np.arange(1, 40)
    cepstral = 2 * np.sum((gain**orders / orders) ** 2)
    expected = np.sqrt(cepstral + np.log(scale**2) ** 2)
    assert Lsd().label(recording, reference)["lsd"] == pytest.approx(expected, rel=0.02)


def test_equals_the_challenges_formula_on_librosas_spectra(
    package, reference: np.ndarray, noisy: np.ndarray
) -> None:
    stft = package("librosa").stft
    gain = np.sum(reference * noisy) / (np.sum(noisy**2) + 1e-8)
    ours = np.abs(stft(gain * noisy, n_fft=512, hop_length=256))
    theirs = np.abs(stft(reference, n_fft=512, hop_length=256))
    log_ratio = np.log(theirs**2 / (ours + 1e-8) ** 2 + 1e-8)
    expected = np.sqrt((log_ratio**2).mean(axis=0)).mean()
    assert Lsd().label(noisy, reference)["lsd"] == pytest.approx(expected, rel=1e-4)
