from collections.abc import Callable

import numpy as np
import pytest
import torch

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import build_encoder
from urgentmos.model.encoders.spectral_transformer import (
    SpectralTransformerConfig,
    SpectralTransformerEncoder,
    build_spectral_transformer,
    compress_with_magnitude,
    frame_positions,
)

from . import tiny

Speech = Callable[..., np.ndarray]
FRAME_SAMPLES = 640


def build(**options: object) -> SpectralTransformerEncoder:
    torch.manual_seed(0)
    config = SpectralTransformerConfig(**{**tiny.SPECTRAL_TRANSFORMER, **options})  # type: ignore[arg-type]
    return build_spectral_transformer(config).eval()


def test_real_part_imaginary_part_and_magnitude_are_compressed_alike() -> None:
    spectrum = torch.polar(torch.tensor([[[2.0, 0.5]]]), torch.tensor([[[0.3, -2.0]]]))
    real, imaginary, magnitude = compress_with_magnitude(spectrum)[0]
    torch.testing.assert_close(magnitude, torch.tensor([[2.0**0.3, 0.5**0.3]]))
    torch.testing.assert_close(torch.complex(real, imaginary).abs(), magnitude)
    torch.testing.assert_close(torch.complex(real, imaginary).angle(), spectrum[0].angle())


def test_a_long_recording_is_heard_in_windows(speech: Speech) -> None:
    encoder = build(window_frames=10)
    waveform = torch.from_numpy(speech(1.1))[None]
    whole = encoder(waveform, torch.tensor([17600]))
    assert whole.lengths.tolist() == [28]
    for start, end in ((0, 10), (10, 20)):
        part = waveform[:, start * FRAME_SAMPLES : end * FRAME_SAMPLES]
        alone = encoder(part, torch.tensor([10 * FRAME_SAMPLES])).hidden_states
        torch.testing.assert_close(whole.hidden_states[:, :, start:end], alone)
    # The last window ends with the recording: it starts earlier than its turn.
    last = encoder(waveform[:, 18 * FRAME_SAMPLES :], torch.tensor([17600 - 18 * FRAME_SAMPLES]))
    torch.testing.assert_close(whole.hidden_states[:, :, 20:], last.hidden_states[:, :, 2:])


def test_frames_are_averaged(speech: Speech) -> None:
    waveform, lengths = torch.from_numpy(speech(0.5))[None], torch.tensor([8000])
    fine, coarse = build()(waveform, lengths), build(averaged_frames=2)(waveform, lengths)
    assert (fine.lengths.tolist(), coarse.lengths.tolist()) == ([13], [7])
    expected = (fine.hidden_states[:, :, 0] + fine.hidden_states[:, :, 1]) / 2
    torch.testing.assert_close(coarse.hidden_states[:, :, 0], expected)
    torch.testing.assert_close(coarse.hidden_states[:, :, 6], fine.hidden_states[:, :, 12])
    assert build(averaged_frames=2).frame_rate == 12.5


def test_frames_know_their_place(speech: Speech) -> None:
    encoder = build()
    waveform = torch.from_numpy(np.tile(speech(0.2), 2))[None]
    placed = encoder(waveform, torch.tensor([6400])).hidden_states[0, -1]
    assert not torch.allclose(placed[2], placed[7], atol=1e-2)
    encoder.positions.zero_()
    placeless = encoder(waveform, torch.tensor([6400])).hidden_states[0, -1]
    torch.testing.assert_close(placeless[2], placeless[7])


def test_positions_are_those_of_the_teacher_averaged() -> None:
    fine, coarse = (frame_positions(n, 6, frame_samples=320 * k) for n, k in ((8, 1), (2, 4)))
    expected = [[np.sin(p * 768 ** (-k / 3)) for k in range(3)] for p in range(8)]
    np.testing.assert_allclose(fine[:, 0::2], expected, atol=1e-6)
    torch.testing.assert_close(fine[:, 1::2].square(), 1 - fine[:, 0::2].square())
    torch.testing.assert_close(coarse, fine.unflatten(0, (2, 4)).mean(dim=1))


@pytest.mark.parametrize("gain", [1e-3, 0.1, 30.0])
def test_gain_changes_nothing(speech: Speech, gain: float) -> None:
    waveform, lengths = torch.from_numpy(speech(0.5))[None], torch.tensor([8000])
    encoder = build()
    torch.testing.assert_close(
        encoder(gain * waveform, lengths).hidden_states,
        encoder(waveform, lengths).hidden_states,
        atol=1e-3,
        rtol=1e-3,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers: expected at least 1, got 0"),
        ({"window_frames": 0}, "window_frames: expected at least 1, got 0"),
        ({"averaged_frames": 137}, "averaged_frames: expected at most window_frames = 136, got"),
        ({"heads": 3}, "heads: 3 heads do not divide dim = 200"),
        ({"channels": [8]}, "of one length, got 1, 5 and 5"),
        ({"channels": [8, 8, 8, 8, 0]}, "channels: expected at least 1, got 0"),
        ({"time_strides": [2, 2, 1, 1, 0]}, "time_strides: expected at least 1, got 0"),
    ],
)
def test_wrong_options_are_refused_in_words(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_encoder(EncoderConfig("spectral_transformer", options))
