import numpy as np
import pytest
import torch

from urgentmos.model.encoders.whisper_features import WhisperFeatures

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("bands", [80, 128])
def test_features_are_those_of_the_official_extractor(bands, recordings):
    waveform, _ = recordings([21_234], padded_to=32_000)
    official = transformers.WhisperFeatureExtractor(feature_size=bands, chunk_length=2)
    expected = official(
        waveform[0, :21_234].numpy(), sampling_rate=16000, return_tensors="pt"
    ).input_features
    ours = WhisperFeatures(bands)(waveform, torch.tensor([32_000]))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_unpadded_features_are_those_of_the_official_extractor(recordings):
    waveform, lengths = recordings([9_999])
    official = transformers.WhisperFeatureExtractor()
    expected = official(
        waveform[0].numpy(), sampling_rate=16000, return_tensors="pt", padding="longest"
    ).input_features
    ours = WhisperFeatures(80)(waveform, lengths)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_padding_changes_no_valid_feature(recordings):
    waveform, lengths = recordings([9_999, 4_000, 201], padded_to=12_000)
    features = WhisperFeatures(80)
    together = features(waveform, lengths)
    for row, samples in enumerate(lengths.tolist()):
        alone = features(waveform[row : row + 1, :samples], lengths[row : row + 1])
        torch.testing.assert_close(
            together[row : row + 1, :, : samples // 160], alone, atol=1e-6, rtol=0
        )


def test_gradient_is_finite_on_silence_and_after_a_click():
    waveform = torch.zeros(1, 4_000)
    waveform[0, 2_000] = 1.0
    for each in (waveform, torch.zeros(1, 4_000)):
        leaf = each.clone().requires_grad_()
        WhisperFeatures(80)(leaf, torch.tensor([4_000])).sum().backward()
        assert torch.isfinite(leaf.grad).all()


def test_features_stay_in_full_precision_under_autocast(recordings):
    waveform, lengths = recordings([4_000])
    features = WhisperFeatures(80)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = features(waveform, lengths)
    assert mixed.dtype == torch.float32
    np.testing.assert_array_equal(mixed, features(waveform, lengths))


def test_more_bands_than_frequency_bins_are_refused():
    with pytest.raises(ValueError, match="202 mel bands are too many for 201 frequency bins"):
        WhisperFeatures(202)
