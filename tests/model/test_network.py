"""The network's contracts: a score belongs to its recording, stays in range, and has a gradient."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from urgentmos.config import ConfigError
from urgentmos.metrics import METRICS, UnknownMetricError
from urgentmos.model.assessor import AssessorNetwork
from urgentmos.model.config import ModelConfig
from urgentmos.model.network import build_assessor, repeat_short

Speech = Callable[..., np.ndarray]


def batch_of(waveforms: list[np.ndarray], samples: int | None = None) -> tuple[Tensor, Tensor]:
    lengths = [len(waveform) for waveform in waveforms]
    batch = torch.zeros(len(waveforms), samples or max(lengths))
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return batch, torch.tensor(lengths)


@pytest.fixture
def recordings(speech: Speech) -> list[np.ndarray]:
    return [speech(seconds, seed=seed) for seed, seconds in enumerate([0.5, 1.1, 0.02, 0.8])]


def assert_same_scores(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    for name, score in a.items():
        torch.testing.assert_close(score, b[name], atol=1e-5 * METRICS[name].scale, rtol=0)


def test_a_score_does_not_depend_on_padding_or_batch_mates(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    together = tiny_network(*batch_of(recordings, samples=30000)).scores
    for index, recording in enumerate(recordings):
        alone = tiny_network(*batch_of([recording])).scores
        assert_same_scores(alone, {name: s[index : index + 1] for name, s in together.items()})


def test_a_score_does_not_depend_on_order(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    forward = tiny_network(*batch_of(recordings)).scores
    backward = tiny_network(*batch_of(recordings[::-1])).scores
    assert_same_scores(forward, {name: score.flip(0) for name, score in backward.items()})


def test_what_lies_beyond_a_recording_is_ignored(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    batch, lengths = batch_of(recordings)
    clean = tiny_network(batch, lengths).scores
    batch[0, lengths[0] :] = float("nan")
    assert_same_scores(clean, tiny_network(batch, lengths).scores)


def test_a_score_does_not_depend_on_gain(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    batch, lengths = batch_of(recordings)
    loud, quiet = tiny_network(batch, lengths).scores, tiny_network(0.05 * batch, lengths).scores
    for name, score in loud.items():
        torch.testing.assert_close(score, quiet[name], atol=1e-3 * METRICS[name].scale, rtol=0)


@pytest.mark.parametrize(
    "waveform",
    {
        "silence": np.zeros(8000, dtype=np.float32),
        "one sample": np.ones(1, dtype=np.float32),
        "one silent sample": np.zeros(1, dtype=np.float32),
        "dc": np.full(8000, 0.9, dtype=np.float32),
        "noise": np.random.default_rng(0).standard_normal(8000).astype(np.float32),
        "square": np.sign(np.sin(np.arange(8000) / 9)).astype(np.float32),
        "out of full scale": 1e6 * np.sin(np.arange(8000) / 9).astype(np.float32),
        "barely audible": 1e-30 * np.sin(np.arange(8000) / 9).astype(np.float32),
    }.items(),
    ids=lambda item: item[0],
)
def test_scores_stay_in_range(
    tiny_network: AssessorNetwork, waveform: tuple[str, np.ndarray]
) -> None:
    with torch.inference_mode():
        scores = tiny_network(*batch_of([waveform[1]])).scores
    for name, score in scores.items():
        metric = METRICS[name]
        assert bool(torch.isfinite(score).all())
        assert metric.low is None or float(score) >= np.float32(metric.low)
        assert metric.high is None or float(score) <= np.float32(metric.high)


def test_gradient_reaches_the_waveform_through_frozen_weights_for_every_head(
    tiny_network: AssessorNetwork, speech: Speech
) -> None:
    network = copy.deepcopy(tiny_network).double().requires_grad_(False)
    waveform = torch.from_numpy(speech(0.2)).double()[None].requires_grad_()
    lengths = torch.tensor([waveform.shape[1]])
    direction = torch.randn(waveform.shape, generator=torch.Generator().manual_seed(0)).double()
    step = 1e-8 * direction
    with torch.no_grad():
        above = network(waveform + step, lengths).scores
        below = network(waveform - step, lengths).scores
    for name, score in network(waveform, lengths).scores.items():
        (gradient,) = torch.autograd.grad(score.sum(), waveform, retain_graph=True)
        expected = float(above[name] - below[name]) / 2e-8
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-4), name
        assert expected != 0, name


def test_gradient_of_a_comparison_reaches_both_recordings(
    tiny_network: AssessorNetwork, speech: Speech
) -> None:
    network = tiny_network.requires_grad_(False)
    a = torch.from_numpy(speech(0.3))[None].requires_grad_()
    b = torch.from_numpy(speech(0.2, seed=1))[None].requires_grad_()
    output = network.compare_frames(
        *network.preference_frames(a, torch.tensor([4800])),
        *network.preference_frames(b, torch.tensor([3200])),
    )
    (output.cmos.sum() + output.logits[:, 0].sum()).backward()
    for waveform in (a, b):
        assert waveform.grad is not None
        assert float(waveform.grad.abs().sum()) > 0


def test_gradient_is_finite_on_silence(tiny_network: AssessorNetwork) -> None:
    waveform = torch.zeros(1, 4000, requires_grad=True)
    scores = tiny_network(waveform, torch.tensor([4000])).scores
    torch.stack(list(scores.values())).sum().backward()
    assert waveform.grad is not None
    assert bool(torch.isfinite(waveform.grad).all())


def test_gradient_of_one_recording_stays_out_of_the_others(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    batch, lengths = batch_of(recordings[:2])
    batch.requires_grad_()
    tiny_network(batch, lengths).scores["mos"][0].backward()
    assert batch.grad is not None
    assert bool((batch.grad[1] == 0).all())
    assert bool((batch.grad[0, lengths[0] :] == 0).all())


def test_wanted_metrics_alone_are_the_same_scores(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    every = tiny_network(*batch_of(recordings)).scores
    some = tiny_network(*batch_of(recordings), metrics=["lps", "sdr"]).scores
    assert list(some) == ["lps", "sdr"]
    assert_same_scores(some, every)


def test_groups_without_a_wanted_metric_are_not_run(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    ran: list[str] = []
    for name, group in tiny_network.groups.items():
        group.register_forward_hook(lambda *_, name=name: ran.append(name))
    tiny_network(*batch_of(recordings), metrics=["estoi"])
    assert ran == ["intelligibility"]


def test_scores_come_with_the_frames_that_are_compared(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    output = tiny_network(*batch_of(recordings))
    frames, mask = tiny_network.preference_frames(*batch_of(recordings))
    assert output.frames is not None
    torch.testing.assert_close(output.frames, frames)
    assert torch.equal(output.mask, mask)


def test_an_unknown_metric_is_refused(
    tiny_network: AssessorNetwork, recordings: list[np.ndarray]
) -> None:
    with pytest.raises(UnknownMetricError, match="does not predict 'utmos'"):
        tiny_network(*batch_of(recordings), metrics=["utmos"])


@pytest.mark.parametrize("length", [0, 101])
def test_lengths_outside_the_waveform_are_refused(
    tiny_network: AssessorNetwork, length: int
) -> None:
    with pytest.raises(ValueError, match="between 1 and 100 samples, got"):
        tiny_network(torch.zeros(1, 100), torch.tensor([length]))


def test_a_recording_shorter_than_the_shortest_scores_as_its_repetition(
    tiny_network: AssessorNetwork, speech: Speech
) -> None:
    short = speech(0.06)
    repeated = np.tile(short, 2)[: tiny_network.min_samples]
    assert tiny_network.min_samples == 1600
    assert_same_scores(
        tiny_network(*batch_of([short])).scores, tiny_network(*batch_of([repeated])).scores
    )


def test_short_recordings_are_repeated_and_long_ones_left_alone() -> None:
    waveform = torch.tensor([[1.0, 2, 3, 0, 0], [1, 2, 3, 4, 5]])
    repeated, lengths = repeat_short(waveform, torch.tensor([3, 5]), min_samples=4)
    assert lengths.tolist() == [4, 5]
    assert repeated.tolist() == [[1, 2, 3, 1, 0], [1, 2, 3, 4, 5]]
    repeated, lengths = repeat_short(waveform[:, :3], torch.tensor([3, 2]), min_samples=7)
    assert lengths.tolist() == [7, 7]
    assert repeated.tolist() == [[1, 2, 3, 1, 2, 3, 1], [1, 2, 1, 2, 1, 2, 1]]


@pytest.mark.parametrize("name", ["a.b", "", "items"])
def test_a_group_whose_name_cannot_be_is_refused(tiny_config: ModelConfig, name: str) -> None:
    groups = {name: next(iter(tiny_config.groups.values()))}
    with pytest.raises(ConfigError, match=r"^model\.groups: "):
        build_assessor(replace(tiny_config, groups=groups, preference=None))
