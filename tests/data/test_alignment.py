import numpy as np
import pytest

from urgentmos.data.alignment import lag_samples, processed_lag_samples, shifted
from urgentmos.simulate.probe import probe
from urgentmos.simulate.spectrum import istft, stft


@pytest.mark.parametrize("delay", [-200, 0, 7, 1500])
def test_a_delay_is_undone(delay):
    waveform = probe()[:16_000]
    moved = np.pad(waveform, (max(delay, 0), 0))[max(-delay, 0) :]
    back = shifted(moved, delay=lag_samples(moved, waveform), num_samples=len(waveform))
    assert len(back) == len(waveform)
    assert np.array_equal(back[300:-300], waveform[300:-300])


@pytest.mark.parametrize("delay", [-480, -4, 0, 3, 738, 2000])
def test_the_delay_of_processed_speech_is_found(delay):
    noise = np.random.default_rng(0).normal(0, 0.02, len(probe())).astype(np.float32)
    assert processed_lag_samples(delayed(probe() + noise, delay), probe()) == delay


@pytest.mark.parametrize("delay", [-480, 0, 738, 2000])
def test_the_delay_of_resynthesised_speech_is_found_within_two_milliseconds(delay):
    spectrum = stft(probe(), window_samples=512, hop_samples=128)
    phases = np.random.default_rng(0).uniform(-np.pi, np.pi, spectrum.shape)
    resynthesised = istft(
        np.abs(spectrum) * np.exp(1j * phases),
        window_samples=512,
        hop_samples=128,
        num_samples=len(probe()),
    )
    assert abs(processed_lag_samples(delayed(resynthesised, delay), probe()) - delay) <= 32


def test_what_agrees_nowhere_is_not_moved():
    noise = np.random.default_rng(1).normal(size=48_000).astype(np.float32)
    assert processed_lag_samples(noise, probe()) == 0


def delayed(waveform, delay):
    """Move a waveform and keep its length."""
    return shifted(waveform, delay=-delay, num_samples=len(waveform))
