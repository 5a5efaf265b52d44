"""The head that judges by peaks: alone, and as a part of the spectral Transformer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from urgentmos.config import ConfigError
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.peak_head import PeakHead, PeakHeadConfig
from urgentmos.model.tf32 import without_tf32

from . import tiny

Recordings = Callable[..., tuple[Tensor, Tensor]]
METRICS = ["dnsmos_bak", "dnsmos_ovrl"]
HEAD = {"metrics": METRICS, "channels": [6, 5], "dim": 4}


def build(**options: Any) -> Encoder:
    torch.manual_seed(0)
    stated = {**tiny.SPECTRAL_TRANSFORMER, "window_frames": 12, "peak_head": HEAD, **options}
    encoder = build_encoder(EncoderConfig("spectral_transformer", stated)).eval()
    tiny.shake(encoder)
    return encoder


def head() -> PeakHead:
    torch.manual_seed(0)
    return PeakHead(3, PeakHeadConfig(METRICS, channels=[6, 5], dim=4)).eval()


def heard(frames: int) -> FrequencyMap:
    features = torch.randn(1, 3, frames, 10, generator=torch.Generator().manual_seed(frames))
    return FrequencyMap(features, torch.tensor([frames]), frames)


def test_scores_are_of_the_metrics_and_within_their_range() -> None:
    scores = head()(heard(20)._replace(features=1e4 * heard(20).features))
    assert sorted(scores) == METRICS
    assert all(1 <= score.item() <= 5 for score in scores.values())


def test_it_judges_by_the_largest_anywhere_and_by_the_mean() -> None:
    judge = head()
    peaks = torch.rand(1, 8, 5, generator=torch.Generator().manual_seed(0))
    peaks[0, 6] = 2.0
    moved = peaks[:, torch.randperm(8, generator=torch.Generator().manual_seed(1))]
    for other, same in ((moved, True), (peaks.index_fill(1, torch.tensor([6]), 0.5), False)):
        given, expected = (judge.judge(each, torch.tensor([8])) for each in (other, peaks))
        for metric in METRICS:
            assert torch.allclose(given[metric], expected[metric]) == same


def test_peaks_are_the_largest_over_frequency() -> None:
    convolutions, given = head(), heard(11)
    peaks, lengths = convolutions.peaks(given)
    assert (peaks.shape, lengths.tolist()) == ((1, 6, 5), [6])
    for layer in convolutions.convolutions:
        given = layer(given)
    assert torch.equal(peaks[0], given.features[0].amax(dim=2).T)


def test_padding_and_batch_mates_change_nothing(recordings: Recordings) -> None:
    encoder = build()
    samples = [3000, 7777, 12_000, 20_000]  # the last two beyond a window of 7,680
    waveform, lengths = recordings(samples, padded_to=23_000)
    with torch.no_grad():
        together = encoder(waveform, lengths).native_scores
        for row, count in enumerate(samples):
            alone = encoder(waveform[row : row + 1, :count], lengths[row : row + 1]).native_scores
            for metric in METRICS:
                torch.testing.assert_close(
                    together[metric][row : row + 1], alone[metric], atol=1e-5, rtol=0
                )
    assert all(float(together[metric].std()) > 1e-4 for metric in METRICS)


def test_a_long_recording_has_the_mean_of_its_windows(recordings: Recordings) -> None:
    encoder, window = build(), 12 * 640
    waveform, lengths = recordings([2 * window])
    with torch.no_grad():
        whole = encoder(waveform, lengths).native_scores
        parts = [
            encoder(waveform[:, start : start + window], torch.tensor([window])).native_scores
            for start in (0, window)
        ]
    for metric in METRICS:
        mean = (parts[0][metric] + parts[1][metric]) / 2
        torch.testing.assert_close(whole[metric], mean, atol=1e-5, rtol=0)


def test_hidden_states_are_those_of_the_encoder_without_it(recordings: Recordings) -> None:
    encoder, batch = build(), recordings([12_000, 7_000])
    torch.manual_seed(0)
    plain = build_encoder(
        EncoderConfig("spectral_transformer", {**tiny.SPECTRAL_TRANSFORMER, "window_frames": 12})
    ).eval()
    plain.load_state_dict(encoder.state_dict(), strict=False)
    with torch.no_grad():
        outputs = [each(*batch) for each in (encoder, plain)]
    assert torch.equal(outputs[0].hidden_states, outputs[1].hidden_states)
    assert outputs[1].native_scores == {}
    assert (encoder.native_metrics, plain.native_metrics) == (tuple(METRICS), ())


def test_gradient_agrees_with_finite_differences(recordings: Recordings) -> None:
    encoder = build().double()
    waveform, lengths = recordings([3000, 2000])
    waveform = waveform.double().requires_grad_()

    def total(given: Tensor) -> Tensor:
        return torch.stack([*encoder(given, lengths).native_scores.values()]).sum()

    (gradient,) = torch.autograd.grad(total(waveform), waveform)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(waveform.shape, generator=generator, dtype=torch.float64)
    direction = direction * (torch.arange(waveform.shape[1]) < lengths[:, None])
    step = 1e-9
    with torch.no_grad():
        change = total(waveform + step * direction) - total(waveform - step * direction)
    expected = float(change) / (2 * step)
    assert abs(expected) > 1e-6
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3)


def test_gradient_reaches_every_weight(recordings: Recordings) -> None:
    """Also in the batch of unequal lengths in which padding is overwritten in place."""
    encoder = build().train()
    output = encoder(*recordings([12_000, 7_000]))
    total = output.hidden_states.sin().sum()
    (total + torch.stack([*output.native_scores.values()]).sum()).backward()
    assert not [name for name, each in encoder.named_parameters() if each.grad is None]


def test_bfloat16_stays_close(recordings: Recordings) -> None:
    encoder, batch = build(), recordings([18_000, 6_000])
    with torch.no_grad():
        exact = encoder(*batch).native_scores
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = encoder(*batch).native_scores
    for metric in METRICS:
        assert rounded[metric].dtype == torch.float32
        torch.testing.assert_close(rounded[metric], exact[metric], atol=0.05, rtol=0)


def test_a_gpu_says_what_the_processor_says(recordings: Recordings, gpu: torch.device) -> None:
    encoder, batch = build(), recordings([18_000, 6_000])
    with torch.no_grad(), without_tf32():
        expected = encoder(*batch).native_scores
        given = encoder.to(gpu)(*(each.to(gpu) for each in batch)).native_scores
    for metric in METRICS:
        torch.testing.assert_close(given[metric].cpu(), expected[metric], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": []}, "predicts at least one metric"),
        ({"metrics": ["mood"]}, "mood"),
        ({"after": 0}, "peak_head.after: expected 1 to 3, the convolutions, got 0"),
        ({"after": 4}, "peak_head.after: expected 1 to 3, the convolutions, got 4"),
        ({"time_strides": [2]}, "of one length, got 2, 1 and 2"),
        ({"channels": []}, "of one length, got 0, 2 and 2"),
        ({"channels": [4, 0]}, "peak_head: channels: expected at least 1, got 0"),
        ({"frequency_strides": [-2, 1]}, "frequency_strides: expected at least 1, got -2"),
        ({"dim": 0}, "dim: expected at least 1, got 0"),
    ],
)
def test_wrong_options_are_refused_in_words(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(peak_head={**HEAD, **options})


def test_scores_of_nothing_are_finite() -> None:
    scores = head()(heard(4)._replace(features=torch.zeros(1, 3, 4, 10)))
    assert all(np.isfinite(score.item()) for score in scores.values())
