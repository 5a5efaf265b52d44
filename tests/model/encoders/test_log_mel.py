import pytest
import torch

from urgentmos.model.encoders.log_mel import LogMelConfig, build_log_mel, mel_filters


def test_mel_filters_cover_the_band_and_sum_to_one() -> None:
    filters = mel_filters(513, 80)
    torch.testing.assert_close(filters.sum(dim=0), torch.ones(80))
    peaks = filters.argmax(dim=0)
    assert bool((peaks.diff() > 0).all())
    # 1000 mel, by definition, is 1000 Hz: band centres are spaced 2840 / 81 mel.
    centre_hz = peaks * 8000 / 512
    mel = 2595 * torch.log10(1 + centre_hz / 700)
    torch.testing.assert_close(mel, torch.arange(1, 81) * 2840.02 / 81, atol=12, rtol=0)


def test_too_many_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="200 mel bands are too many for 161"):
        mel_filters(161, 200)


def test_the_frame_rate_follows_hop_and_strides() -> None:
    encoder = build_log_mel(LogMelConfig(hop_ms=20.0, time_strides=[1, 2, 2, 1]))
    assert encoder.frame_rate == 12.5
    output = encoder(torch.randn(1, 16000), torch.tensor([16000]))
    assert output.lengths.tolist() == [13]
    assert output.hidden_states.shape == (1, encoder.num_layers, 13, encoder.dim)
