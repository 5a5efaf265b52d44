import numpy as np
import pytest
import torch

from urgentmos.labels.sdr import FILTER_TAPS, Sdr


def _least_squares_sdr(recording: np.ndarray, reference: np.ndarray) -> float:
    """Project on the reference and its delays, as the definition says, without correlations."""
    length = len(reference) + FILTER_TAPS - 1
    delays = np.zeros((length, FILTER_TAPS))
    for tap in range(FILTER_TAPS):
        delays[tap : tap + len(reference), tap] = reference
    target = np.zeros(length)
    target[: len(recording)] = recording
    taps, *_ = np.linalg.lstsq(delays, target, rcond=None)
    error = target - delays @ taps
    return 10 * np.log10((target @ target - error @ error) / (error @ error))


def test_equals_least_squares(package) -> None:
    package("fast_bss_eval")
    generator = np.random.default_rng(0)
    reference = generator.standard_normal(3000).astype(np.float32)
    filtered = np.convolve(reference, [0.5, 0.3, -0.2])[:3000]
    recording = (filtered + 0.1 * generator.standard_normal(3000)).astype(np.float32)
    expected = _least_squares_sdr(recording, reference)
    assert Sdr().label(recording, reference)["sdr"] == pytest.approx(expected, abs=1e-4)


def test_equals_the_challenges_call(package, reference: np.ndarray, noisy: np.ndarray) -> None:
    # As tensors: with arrays, this call of the package fails on numpy 2.
    sdr, *_ = package("fast_bss_eval").bss_eval_sources(
        torch.from_numpy(reference[None].astype(np.float64)),
        torch.from_numpy(noisy[None].astype(np.float64)),
        filter_length=512,
        compute_permutation=False,
        clamp_db=50.0,
    )
    assert Sdr().label(noisy, reference)["sdr"] == pytest.approx(float(sdr[0]), abs=1e-6)


def test_is_clamped_for_the_reference_itself(package, reference: np.ndarray) -> None:
    package("fast_bss_eval")
    assert Sdr().label(reference, reference)["sdr"] == pytest.approx(50.0, abs=1e-6)


def test_falls_as_noise_rises(package, reference: np.ndarray) -> None:
    package("fast_bss_eval")
    noise = np.random.default_rng(2).standard_normal(len(reference)).astype(np.float32)
    values = [
        Sdr().label(reference + level * noise, reference)["sdr"]
        for level in np.float32([0.001, 0.01, 0.1, 1.0])
    ]
    assert values == sorted(values, reverse=True)
