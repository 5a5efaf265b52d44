import numpy as np
import torch

from urgentmos.model.encoders.framing import Spectrum, num_frames


def test_frames_equal_a_plain_transform_of_the_zero_padded_waveform() -> None:
    waveform = torch.randn(1, 1000)
    spectrum = Spectrum(window_samples=320, hop_samples=160)(waveform)[0].numpy()
    padded = np.pad(waveform[0].numpy(), (160, 480))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 320)
    assert len(spectrum) == 7
    for index, frame in enumerate(spectrum):
        expected = np.fft.rfft(padded[160 * index : 160 * index + 320] * window)
        assert np.abs(frame - expected).max() < 1e-4


def test_there_is_one_frame_per_started_hop() -> None:
    lengths = torch.tensor([1, 159, 160, 161, 320])
    assert num_frames(lengths, 160).tolist() == [1, 1, 1, 2, 2]
    for length in lengths.tolist():
        spectrum = Spectrum(window_samples=320, hop_samples=160)(torch.zeros(1, length))
        assert spectrum.shape[1] == num_frames(torch.tensor([length]), 160).item()


def test_zeros_after_a_recording_do_not_change_its_frames() -> None:
    spectrum = Spectrum(window_samples=1024, hop_samples=320)
    waveform = torch.randn(1, 3001)
    alone = spectrum(waveform)
    padded = spectrum(torch.nn.functional.pad(waveform, (0, 5000)))
    torch.testing.assert_close(padded[:, : alone.shape[1]], alone, atol=1e-5, rtol=1e-5)
