"""The score of an encoder's own head beside the heads."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from urgentmos.config import ConfigError
from urgentmos.model.config import ModelConfig, NativeScoreConfig
from urgentmos.model.encoders import Encoder
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.network import AssessorNetwork, build_assessor

SAYS = torch.tensor([1.2, 4.7])


class Speaking(Encoder):
    """An encoder that says something of each recording besides."""

    gives_native_score = True

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, waveform: Tensor, lengths: Tensor) -> EncoderOutput:
        """Encode, and say the same as always."""
        output: EncoderOutput = self.encoder(waveform, lengths)
        return output._replace(native_score=SAYS)


def speaking_network(config: ModelConfig, shares: dict[str, float]) -> AssessorNetwork:
    """A network whose first encoder says what MOS is."""
    torch.manual_seed(0)
    network = build_assessor(config).eval()
    spoken = nn.ModuleList([Speaking(network.encoders[0]), *network.encoders[1:]])
    network.encoders = spoken
    network._native_score = NativeScoreConfig(encoder=0, metric="mos", shares=shares)
    return network


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 12000, generator=generator) * 0.1, torch.tensor([12000, 9000])


def test_with_share_one_the_output_is_the_score(tiny_config, batch) -> None:
    torch.testing.assert_close(
        speaking_network(tiny_config, {"mos": 1.0})(*batch).scores["mos"], SAYS
    )


def test_with_half_the_score_is_the_mean_of_output_and_head(tiny_config, batch) -> None:
    alone = speaking_network(tiny_config, {})(*batch).scores
    mixed = speaking_network(tiny_config, {"mos": 0.5})(*batch).scores
    torch.testing.assert_close(mixed["mos"], (alone["mos"] + SAYS) / 2)
    assert all(torch.equal(mixed[name], alone[name]) for name in alone if name != "mos")


def test_heads_learn_without_it(tiny_config, batch) -> None:
    alone, mixed = (speaking_network(tiny_config, shares) for shares in ({}, {"mos": 0.5}))
    torch.manual_seed(0)
    expected = alone.train()(*batch).scores["mos"]
    torch.manual_seed(0)
    assert torch.equal(mixed.train()(*batch).scores["mos"], expected)


def test_stored_hidden_states_bring_none(tiny_config, batch) -> None:
    network = speaking_network(tiny_config, {"mos": 0.5})
    alone = speaking_network(tiny_config, {})
    stored = network.encoders[0](*network.prepare(*batch))._replace(native_score=None)
    scores = network(*batch, encoded={0: stored}).scores
    torch.testing.assert_close(scores["mos"], alone(*batch).scores["mos"])


def test_an_encoder_without_one_is_refused(tiny_config) -> None:
    native_score = NativeScoreConfig(encoder=0, metric="mos", shares={"mos": 1.0})
    with pytest.raises(ConfigError, match="gives no score of its own"):
        build_assessor(replace(tiny_config, native_score=native_score))


@pytest.mark.parametrize(
    ("native_score", "message"),
    [
        ({"encoder": 9, "metric": "mos"}, r"native_score\.encoder: expected 0 to"),
        ({"encoder": 0, "metric": "mcd"}, "has no metric 'mcd'"),
        ({"encoder": 0, "metric": "mos", "shares": {"estoi": 0.5}}, "'estoi' is not in the group"),
        ({"encoder": 0, "metric": "mos", "shares": {"mos": 1.5}}, "shares.mos: expected 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(native_score, message, tiny_config) -> None:
    with pytest.raises(ValueError, match=message):
        replace(tiny_config, native_score=NativeScoreConfig(**{"shares": {}, **native_score}))
