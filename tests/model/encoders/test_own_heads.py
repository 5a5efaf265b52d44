"""Heads of an encoder's own, by peaks and by frames: alone, and in the spectral Transformer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from urgentmos.config import ConfigError
from urgentmos.metrics import get_metric
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, build_encoder
from urgentmos.model.encoders.frame_head import FrameHead, FrameHeadConfig
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.own_head import OwnHead
from urgentmos.model.encoders.peak_head import PeakHead, PeakHeadConfig
from urgentmos.model.tf32 import without_tf32

from . import tiny

Recordings = Callable[..., tuple[Tensor, Tensor]]
METRICS = {"peak_head": ["dnsmos_bak", "dnsmos_ovrl"], "frame_head": ["lsd", "pesq", "sdr"]}
HEADS = {
    "peak_head": {"metrics": METRICS["peak_head"], "channels": [6, 5], "dim": 4},
    "frame_head": {
        "metrics": METRICS["frame_head"], "channels": [6, 5], "frame_dim": 7, "dim": 4,
    },
}  # fmt: skip
CONVOLUTIONS = ("channels", "time_strides", "frequency_strides")
either = pytest.mark.parametrize("option", list(HEADS))
with_and_without_layers = pytest.mark.parametrize("layers", [2, 0])


def build(option: str, **options: Any) -> Encoder:
    torch.manual_seed(0)
    stated = {**tiny.SPECTRAL_TRANSFORMER, "window_frames": 12, option: HEADS[option], **options}
    if stated["layers"] == 0:
        stated |= {name: stated[name][:2] for name in CONVOLUTIONS}
    encoder = build_encoder(EncoderConfig("spectral_transformer", stated)).eval()
    tiny.shake(encoder)
    return encoder


def head(option: str) -> OwnHead:
    """One that hears 3 channels and 10 bins."""
    torch.manual_seed(0)
    if option == "peak_head":
        return PeakHead(3, PeakHeadConfig(**HEADS[option])).eval()
    return FrameHead(3, 10, FrameHeadConfig(**HEADS[option])).eval()


def heard(frames: int) -> FrequencyMap:
    features = torch.randn(1, 3, frames, 10, generator=torch.Generator().manual_seed(frames))
    return FrequencyMap(features, torch.tensor([frames]), frames)


@either
def test_scores_are_of_the_metrics_and_within_their_range(option: str) -> None:
    given = heard(20)._replace(features=1e4 * heard(20).features)
    scores = head(option)(given)
    assert list(scores) == METRICS[option]
    for metric, score in scores.items():
        assert np.isfinite(score.item())
        assert in_range(metric, score.item())


def in_range(metric: str, score: float) -> bool:
    low, high = get_metric(metric).low, get_metric(metric).high
    return (low is None or score >= low) and (high is None or score <= high)


@either
def test_it_judges_by_the_largest_anywhere_and_by_the_mean(option: str) -> None:
    judge = head(option)
    frames = torch.rand(1, 8, judge.frame_dim, generator=torch.Generator().manual_seed(0))
    frames[0, 6] = 2.0
    moved = frames[:, torch.randperm(8, generator=torch.Generator().manual_seed(1))]
    for other, same in ((moved, True), (frames.index_fill(1, torch.tensor([6]), 0.5), False)):
        given, expected = (judge.judge(each, torch.tensor([8])) for each in (other, frames))
        for metric in METRICS[option]:
            assert torch.allclose(given[metric], expected[metric], atol=1e-5) == same


def test_peaks_are_the_largest_over_frequency() -> None:
    convolutions, given = head("peak_head"), heard(11)
    peaks, lengths = convolutions.frames(given)
    assert (peaks.shape, lengths.tolist()) == ((1, 6, 5), [6])
    for layer in convolutions.convolutions:
        given = layer(given)
    assert torch.equal(peaks[0], given.features[0].amax(dim=2).T)


def test_a_frame_knows_where_in_frequency_and_its_neighbours() -> None:
    with_blocks, given = head("frame_head"), heard(41)
    frames, lengths = with_blocks.frames(given)
    assert (frames.shape, lengths.tolist()) == ((1, 21, 7), [21])
    mirrored = given._replace(features=given.features.flip(3))
    assert not torch.allclose(with_blocks.frames(mirrored)[0], frames, atol=1e-2)
    changed = given._replace(features=given.features.index_fill(2, torch.tensor([40]), 0.0))
    moved = (with_blocks.frames(changed)[0] - frames).abs().amax(dim=2)[0] > 0
    # Two convolutions hear one frame further each, two blocks two each; the last is the 21st.
    assert moved.nonzero()[:, 0].tolist() == list(range(15, 21))


@either
@with_and_without_layers
def test_padding_and_batch_mates_change_nothing(
    option: str, layers: int, recordings: Recordings
) -> None:
    encoder = build(option, layers=layers)
    samples = [3000, 7777, 12_000, 20_000]  # the last two beyond a window of 7,680
    waveform, lengths = recordings(samples, padded_to=23_000)
    with torch.no_grad():
        together = encoder(waveform, lengths).native_scores
        for row, count in enumerate(samples):
            alone = encoder(waveform[row : row + 1, :count], lengths[row : row + 1]).native_scores
            for metric in METRICS[option]:
                torch.testing.assert_close(
                    together[metric][row : row + 1], alone[metric], atol=1e-5, rtol=0
                )
    assert all(float(together[metric].std()) > 1e-4 for metric in METRICS[option])


@either
@with_and_without_layers
def test_a_long_recording_has_the_mean_of_its_windows(
    option: str, layers: int, recordings: Recordings
) -> None:
    encoder, window = build(option, layers=layers), 12 * 640
    waveform, lengths = recordings([2 * window])
    with torch.no_grad():
        whole = encoder(waveform, lengths).native_scores
        parts = [
            encoder(waveform[:, start : start + window], torch.tensor([window])).native_scores
            for start in (0, window)
        ]
    for metric in METRICS[option]:
        mean = (parts[0][metric] + parts[1][metric]) / 2
        torch.testing.assert_close(whole[metric], mean, atol=1e-5, rtol=0)


@either
def test_hidden_states_are_those_of_the_encoder_without_it(
    option: str, recordings: Recordings
) -> None:
    encoder, batch = build(option), recordings([12_000, 7_000])
    torch.manual_seed(0)
    plain = build_encoder(
        EncoderConfig("spectral_transformer", {**tiny.SPECTRAL_TRANSFORMER, "window_frames": 12})
    ).eval()
    plain.load_state_dict(encoder.state_dict(), strict=False)
    with torch.no_grad():
        outputs = [each(*batch) for each in (encoder, plain)]
    assert torch.equal(outputs[0].hidden_states, outputs[1].hidden_states)
    assert outputs[1].native_scores == {}
    assert (encoder.native_metrics, plain.native_metrics) == (tuple(METRICS[option]), ())


@either
@with_and_without_layers
def test_gradient_agrees_with_finite_differences(
    option: str, layers: int, recordings: Recordings
) -> None:
    encoder = build(option, layers=layers).double()
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


@either
def test_without_layers_its_scores_are_those_of_the_whole_encoder(
    option: str, recordings: Recordings
) -> None:
    """It needs no convolution after those that the head hears, and gives no hidden states."""
    whole = build(option)
    alone = build(option, layers=0)
    alone.load_state_dict(
        {name: whole.state_dict()[name] for name in alone.state_dict()}, strict=True
    )
    batch = recordings([12_000, 7_000, 30_000])
    with torch.no_grad():
        expected, given, nothing = whole(*batch), alone(*batch), alone(*batch, native=[])
    assert (alone.num_layers, given.hidden_states.shape[:2]) == (0, (3, 0))
    assert torch.equal(given.lengths, expected.lengths)
    for metric in METRICS[option]:
        assert torch.equal(given.native_scores[metric], expected.native_scores[metric])
    assert nothing.native_scores == {}
    assert nothing.hidden_states.shape == given.hidden_states.shape


@either
@with_and_without_layers
def test_gradient_reaches_every_weight(option: str, layers: int, recordings: Recordings) -> None:
    """Also in the batch of unequal lengths in which padding is overwritten in place."""
    encoder = build(option, layers=layers).train()
    output = encoder(*recordings([12_000, 7_000]))
    total = output.hidden_states.sin().sum()
    (total + torch.stack([*output.native_scores.values()]).sum()).backward()
    assert not [name for name, each in encoder.named_parameters() if each.grad is None]


@either
def test_bfloat16_stays_close(option: str, recordings: Recordings) -> None:
    encoder, batch = build(option), recordings([18_000, 6_000])
    with torch.no_grad():
        exact = encoder(*batch).native_scores
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = encoder(*batch).native_scores
    for metric in METRICS[option]:
        assert rounded[metric].dtype == torch.float32
        torch.testing.assert_close(rounded[metric], exact[metric], atol=0.05, rtol=0)


@either
def test_a_gpu_says_what_the_processor_says(
    option: str, recordings: Recordings, gpu: torch.device
) -> None:
    encoder, batch = build(option), recordings([18_000, 6_000])
    with torch.no_grad(), without_tf32():
        expected = encoder(*batch).native_scores
        given = encoder.to(gpu)(*(each.to(gpu) for each in batch)).native_scores
    for metric in METRICS[option]:
        torch.testing.assert_close(given[metric].cpu(), expected[metric], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("option", "options", "message"),
    [
        *(
            (option, options, message)
            for option in HEADS
            for options, message in (
                ({"metrics": []}, "predicts at least one metric"),
                ({"metrics": ["mood"]}, "mood"),
                ({"after": 0}, f"{option}.after: expected 1 to 3, the convolutions, got 0"),
                ({"after": 4}, f"{option}.after: expected 1 to 3, the convolutions, got 4"),
                ({"time_strides": [2]}, "of one length, got 2, 1 and 2"),
                ({"channels": []}, "of one length, got 0, 2 and 2"),
                ({"channels": [4, 0]}, f"{option}: channels: expected at least 1, got 0"),
                ({"frequency_strides": [-2, 1]}, "frequency_strides: expected at least 1, got -2"),
                ({"dim": 0}, "dim: expected at least 1, got 0"),
            )
        ),
        ("frame_head", {"frame_dim": 0}, "frame_dim: expected at least 1, got 0"),
        ("frame_head", {"blocks": -1}, "blocks: expected at least 0, got -1"),
        ("frame_head", {"kernel": 4}, "kernel: expected an odd number, got 4"),
    ],
)
def test_wrong_options_are_refused_in_words(
    option: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(option, **{option: {**HEADS[option], **options}})


def test_without_layers_convolutions_that_no_head_hears_are_refused() -> None:
    stated = {**tiny.SPECTRAL_TRANSFORMER, "layers": 0, "peak_head": HEADS["peak_head"]}
    with pytest.raises(ConfigError, match="channels: without layers nothing hears more than 2"):
        build_encoder(EncoderConfig("spectral_transformer", stated))


@pytest.mark.parametrize(("option", "layers", "least"), [(None, 0, 1), ("peak_head", -1, 0)])
def test_without_layers_it_needs_a_head(option: str | None, layers: int, least: int) -> None:
    head_of = {} if option is None else {option: HEADS[option]}
    stated = {**tiny.SPECTRAL_TRANSFORMER, "layers": layers, **head_of}
    with pytest.raises(ConfigError, match=f"layers: expected at least {least}, got {layers}"):
        build_encoder(EncoderConfig("spectral_transformer", stated))


def test_two_heads_predict_each_what_is_theirs(recordings: Recordings) -> None:
    encoder, batch = build("peak_head", frame_head=HEADS["frame_head"]), recordings([9000, 7000])
    assert encoder.native_metrics == (*METRICS["peak_head"], *METRICS["frame_head"])
    with torch.no_grad():
        assert list(encoder(*batch).native_scores) == list(encoder.native_metrics)


def test_a_metric_of_two_heads_is_refused() -> None:
    twice = {**HEADS["frame_head"], "metrics": ["lsd", "dnsmos_bak"]}
    with pytest.raises(ConfigError, match=r"frame_head\.metrics: peak_head predicts dnsmos_bak"):
        build("peak_head", frame_head=twice)


@either
def test_scores_of_nothing_are_finite(option: str) -> None:
    scores = head(option)(heard(4)._replace(features=torch.zeros(1, 3, 4, 10)))
    assert all(np.isfinite(score.item()) for score in scores.values())
