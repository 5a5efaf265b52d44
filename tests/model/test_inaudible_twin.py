"""A recording heard a second time, in a version nobody can tell from it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from urgentmos.model.config import ModelConfig
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.inaudible_twin import inaudible_twin, mean_output
from urgentmos.model.network import AssessorNetwork, build_assessor

DELAY = 80


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(2, 20000, generator=generator) * 0.1
    waveform[1, 17000:] = 0.0
    return waveform, torch.tensor([20000, 17000])


def network(config: ModelConfig, *, augmented: bool) -> AssessorNetwork:
    torch.manual_seed(0)
    return build_assessor(replace(config, test_time_augmentation=augmented)).eval()


def test_it_has_the_other_polarity_and_is_late(batch) -> None:
    waveform, lengths = batch
    twin = inaudible_twin(waveform, lengths)
    assert not twin[:, :DELAY].any()
    for row, given, length in zip(twin, waveform, lengths.tolist(), strict=True):
        assert torch.equal(row[DELAY:length], -given[: length - DELAY])
        assert not row[length:].any()


def test_encoders_give_the_mean_over_both(tiny_config: ModelConfig, batch) -> None:
    plain, augmented = (network(tiny_config, augmented=each) for each in (False, True))
    heard, lengths = plain.prepare(*batch)
    for encoder, output in zip(plain.encoders, augmented.encode(*batch), strict=True):
        first, second = (encoder(w, lengths) for w in (heard, inaudible_twin(heard, lengths)))
        mean = (first.hidden_states + second.hidden_states) / 2
        torch.testing.assert_close(output.hidden_states, mean)
        assert not torch.allclose(first.hidden_states, mean)


def test_an_encoder_s_own_score_is_the_mean_over_both_where_both_have_one() -> None:
    lengths = torch.tensor([5, 3])
    first, second, mute = (
        EncoderOutput(torch.zeros(2, 1, 5, 4), lengths, scores)
        for scores in ({"mos": torch.tensor([1.0, 4.0])}, {"mos": torch.tensor([2.0, 3.0])}, {})
    )
    assert mean_output(first, second).native_scores["mos"].tolist() == [1.5, 3.5]
    assert mean_output(first, mute).native_scores == {}
    assert mean_output(mute, second).native_scores == {}


def test_training_hears_every_recording_once(tiny_config: ModelConfig, batch) -> None:
    plain, augmented = (network(tiny_config, augmented=each).train() for each in (False, True))
    for once, other in zip(plain.encode(*batch), augmented.encode(*batch), strict=True):
        assert torch.equal(once.hidden_states, other.hidden_states)


@torch.no_grad()
def test_polarity_matters_less(tiny_config: ModelConfig, batch) -> None:
    waveform, lengths = batch
    moved = []
    for augmented in (False, True):
        hears = network(tiny_config, augmented=augmented)
        scores, turned = (hears(w, lengths).scores for w in (waveform, -waveform))
        moved.append(sum(float((scores[m] - turned[m]).abs().sum()) for m in scores))
    assert 0 < moved[1] < 0.8 * moved[0]


def test_padding_and_batch_mates_change_nothing(tiny_config: ModelConfig, batch) -> None:
    waveform, lengths = batch
    hears = network(tiny_config, augmented=True)
    together = hears(waveform, lengths).scores
    alone = hears(waveform[1:, :17000], lengths[1:]).scores
    for name, score in alone.items():
        torch.testing.assert_close(together[name][1:], score, atol=1e-5, rtol=1e-5)
