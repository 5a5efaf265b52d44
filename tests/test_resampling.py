import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from urgentmos.audio import read_audio
from urgentmos.resampling import resample, resample_as_files, resampled_length

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000]


def sine(frequency: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate + 0.3)


def middle(waveform: np.ndarray) -> np.ndarray:
    """Leave out the edges, where both resamplers see the zeros outside."""
    return waveform[len(waveform) // 4 : 3 * len(waveform) // 4]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("share_of_nyquist", [0.03, 0.4, 0.88])
def test_a_sine_arrives_at_16_khz_with_its_amplitude_and_phase(
    rate: int, share_of_nyquist: float
) -> None:
    frequency = share_of_nyquist * min(rate, 16000) / 2
    resampled = resample(torch.tensor(sine(frequency, rate)), from_rate=rate, to_rate=16000)
    expected = sine(frequency, 16000)[: len(resampled)]
    assert np.abs(middle(resampled.numpy()) - middle(expected)).max() < 1.2e-3  # 0.01 dB


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("frequency", [8010.0, 9500.0])
def test_what_lies_above_the_new_nyquist_frequency_is_removed(rate: int, frequency: float) -> None:
    resampled = resample(torch.tensor(sine(frequency, rate)), from_rate=rate, to_rate=16000)
    assert np.abs(middle(resampled.numpy())).max() < 1e-4  # 80 dB


@pytest.mark.parametrize("rate", RATES)
def test_band_limited_noise_equals_soxr(rate: int) -> None:
    noise = np.random.default_rng(0).standard_normal(rate // 2)
    spectrum = np.fft.rfft(noise)
    spectrum[int(0.8 * min(rate, 16000) / 2 * len(noise) / rate) :] = 0
    noise = np.fft.irfft(spectrum, len(noise))
    ours = resample(torch.tensor(noise), from_rate=rate, to_rate=16000).numpy()
    theirs = soxr.resample(noise, rate, 16000, quality="VHQ")
    size = min(len(ours), len(theirs))
    error = middle(ours[:size] - theirs[:size])
    assert np.sqrt(np.mean(error**2)) < 1e-3 * np.sqrt(np.mean(noise**2))


def test_rates_without_a_common_divisor_work() -> None:
    resampled = resample(torch.tensor(sine(500.0, 15999)), from_rate=15999, to_rate=16000)
    expected = sine(500.0, 16000)[: len(resampled)]
    assert np.abs(middle(resampled.numpy()) - middle(expected)).max() < 1e-3


@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(1, 300), from_rate=st.sampled_from(RATES), to_rate=st.sampled_from(RATES)
)
def test_the_length_is_what_resampled_length_says(
    samples: int, from_rate: int, to_rate: int
) -> None:
    resampled = resample(torch.zeros(2, samples), from_rate=from_rate, to_rate=to_rate)
    expected = resampled_length(samples, from_rate=from_rate, to_rate=to_rate)
    assert resampled.shape == (2, expected)
    assert expected == int(np.ceil(samples * to_rate / from_rate))


def test_padding_with_zeros_changes_nothing_before_it() -> None:
    waveform = torch.randn(1, 700, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(waveform, (0, 500))
    alone = resample(waveform, from_rate=44100, to_rate=16000)
    together = resample(padded, from_rate=44100, to_rate=16000)
    torch.testing.assert_close(together[:, : alone.shape[1]], alone)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(48000, 16000), (8000, 16000), (3, 4)])
def test_gradient_agrees_with_finite_differences(from_rate: int, to_rate: int) -> None:
    waveform = torch.randn(1, 30, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: resample(x, from_rate=from_rate, to_rate=to_rate), (waveform,)
    )


def test_the_same_rate_is_the_same_waveform() -> None:
    waveform = torch.randn(5)
    assert resample(waveform, from_rate=16000, to_rate=16000) is waveform


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="positive sample rates, got 0"):
        resample(torch.zeros(4), from_rate=0, to_rate=16000)


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate != 16000])
def test_white_noise_comes_out_as_soxr_has_it(rate: int) -> None:
    noise = np.random.default_rng(0).standard_normal(2 * rate)
    ours = resample(torch.tensor(noise), from_rate=rate, to_rate=16000).numpy()
    theirs = soxr.resample(noise, rate, 16000, quality="HQ")
    size = min(len(ours), len(theirs))
    error = middle(ours[:size] - theirs[:size])
    assert np.sqrt(np.mean(error**2)) < 2e-3 * np.sqrt(np.mean(middle(theirs) ** 2))


@pytest.mark.parametrize("rate", RATES)
def test_arrays_are_resampled_as_files_are(rate: int, tmp_path: Path) -> None:
    waveform = torch.randn(2, rate + 7, generator=torch.Generator().manual_seed(0)) * 0.1
    lengths = torch.tensor([rate + 7, rate // 2])
    arrays, samples = resample_as_files(waveform, lengths, from_rate=rate, to_rate=16000)
    for row, array, length, count in zip(waveform, arrays, lengths, samples, strict=True):
        soundfile.write(tmp_path / "x.wav", row[:length].numpy(), rate, subtype="FLOAT")
        expected = read_audio(tmp_path / "x.wav").waveform
        assert np.array_equal(array[:count].numpy(), expected)
        assert not array[count:].any()


def test_a_long_array_is_not_copied_before_it_is_resampled() -> None:
    waveform = torch.zeros(1, 20 * 48000)
    tracemalloc.start()
    try:
        resample_as_files(waveform, torch.tensor([20 * 48000]), from_rate=48000, to_rate=16000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 0.9 * waveform.nbytes  # one third is the result


def test_one_sample_stays_one() -> None:
    _, samples = resample_as_files(
        torch.ones(1, 1), torch.tensor([1]), from_rate=96000, to_rate=16000
    )
    assert samples.tolist() == [1]


def test_autocast_does_not_round_the_samples() -> None:
    waveform = torch.randn(1, 4800)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = resample(waveform, from_rate=48000, to_rate=16000)
    assert torch.equal(halved, resample(waveform, from_rate=48000, to_rate=16000))
