"""The score of an encoder's own head beside the heads."""

from collections.abc import Collection
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from urgentmos.config import ConfigError, from_dict, to_dict
from urgentmos.model.config import EncoderConfig, ModelConfig, NativeScoreConfig
from urgentmos.model.encoders import Encoder
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.network import AssessorNetwork, build_assessor

from .encoders.tiny import SPECTRAL_TRANSFORMER

SAYS = torch.tensor([1.2, 4.7])


SILENT = {
    "layers": 0, "channels": [4, 4], "time_strides": [2, 2], "frequency_strides": [4, 4],
}  # fmt: skip


class Speaking(Encoder):
    """An encoder that says something of each recording besides."""

    native_metrics = ("mos",)

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, waveform: Tensor, lengths: Tensor, *, native: Collection[str] | None = None
    ) -> EncoderOutput:
        """Encode, and say the same as always."""
        output: EncoderOutput = self.encoder(waveform, lengths)
        return output._replace(native_scores={"mos": SAYS})


def speaking_network(config: ModelConfig, shares: dict[str, float]) -> AssessorNetwork:
    """A network whose first encoder says what MOS is."""
    torch.manual_seed(0)
    network = build_assessor(config).eval()
    spoken = nn.ModuleList([Speaking(network.encoders[0]), *network.encoders[1:]])
    network.encoders = spoken
    network._native_scores = [NativeScoreConfig(encoder=0, metric="mos", shares=shares)]
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


def test_heads_learn_with_it_where_the_encoder_s_head_learns_too(tiny_config, batch) -> None:
    outputs = []
    for learns in (False, True):
        network = speaking_network(tiny_config, {"mos": 0.5}).train()
        network.encoders[0].learns_native_scores = learns
        torch.manual_seed(0)
        outputs.append(network(*batch).scores["mos"])
    torch.testing.assert_close(outputs[1], (outputs[0] + SAYS) / 2)


def test_without_a_metric_each_share_is_of_the_same_metric(tiny_config, batch) -> None:
    network, alone = (speaking_network(tiny_config, {}) for _ in range(2))
    network._native_scores = [NativeScoreConfig(encoder=0, shares={"mos": 0.25})]
    scores, expected = network(*batch).scores, alone(*batch).scores
    torch.testing.assert_close(scores["mos"], 0.75 * expected["mos"] + 0.25 * SAYS)


def test_metrics_that_are_not_wanted_are_left_out(tiny_config, batch) -> None:
    network = speaking_network(tiny_config, {"mos": 0.5})
    wanted = [metric for metric in network.metrics if metric != "mos"]
    assert list(network(*batch, metrics=wanted).scores) == wanted


def test_stored_hidden_states_bring_none(tiny_config, batch) -> None:
    network = speaking_network(tiny_config, {"mos": 0.5})
    alone = speaking_network(tiny_config, {})
    stored = network.encoders[0](*network.prepare(*batch))._replace(native_scores={})
    scores = network(*batch, encoded={0: stored}).scores
    torch.testing.assert_close(scores["mos"], alone(*batch).scores["mos"])


def test_an_encoder_without_one_is_refused(tiny_config) -> None:
    native_score = NativeScoreConfig(encoder=0, metric="mos", shares={"mos": 1.0})
    with pytest.raises(ConfigError, match="gives no score of its own"):
        build_assessor(replace(tiny_config, native_score=native_score))


def test_an_encoder_s_own_head_is_trained_with_the_model(tiny_config, batch) -> None:
    head = {"metrics": ["pesq"], "channels": [4, 4]}
    speaking = EncoderConfig("spectral_transformer", {**SPECTRAL_TRANSFORMER, "peak_head": head})
    native_score = NativeScoreConfig(encoder=0, shares={"pesq": 0.5})
    config = replace(tiny_config, encoders=[speaking], native_score=native_score, preference=None)
    network = build_assessor(config).train()
    torch.stack([*network(*batch).scores.values()]).sum().backward()
    assert not [name for name, weight in network.named_parameters() if weight.grad is None]


def test_heads_of_which_nothing_is_wanted_are_not_run(tiny_config, batch) -> None:
    """Nor does what they would have cost a comparison change what is wanted."""
    options = {
        "peak_head": {"metrics": ["pesq"], "channels": [4, 4]},
        "frame_head": {"metrics": ["mos"], "channels": [4, 4], "frame_dim": 6},
    }
    speaking = EncoderConfig("spectral_transformer", {**SPECTRAL_TRANSFORMER, **options})
    native_score = NativeScoreConfig(encoder=0, shares={"pesq": 0.5, "mos": 0.5})
    config = replace(tiny_config, encoders=[speaking], native_score=native_score)
    torch.manual_seed(0)
    network = build_assessor(config).eval()
    ran = []
    for name in options:
        head = getattr(network.encoders[0], name)
        head.register_forward_hook(lambda *_, name=name: ran.append(name))
    with torch.no_grad():
        everything = network(*batch).scores
        assert ran == list(options)
        for metric, expected in {"mos": ["frame_head"], "pesq": ["peak_head"], "sdr": []}.items():
            ran.clear()
            scores = network(*batch, metrics=[metric]).scores
            assert ran == expected
            assert torch.equal(scores[metric], everything[metric])
        ran.clear()
        network.preference_frames(*batch)
        assert ran == []


def test_scores_of_several_encoders_count(tiny_config, batch) -> None:
    """One of them may have no hidden states: no features and no other scores are from it."""
    silent = {**SPECTRAL_TRANSFORMER, **SILENT}
    heads = [{"metrics": [metric], "channels": [4, 4]} for metric in ("pesq", "mos")]
    encoders = [
        *tiny_config.encoders,
        EncoderConfig("spectral_transformer", {**SPECTRAL_TRANSFORMER, "peak_head": heads[0]}),
        EncoderConfig("spectral_transformer", {**silent, "peak_head": heads[1]}),
    ]
    first, second = (
        NativeScoreConfig(encoder=len(tiny_config.encoders) + number, shares={metric: 0.25})
        for number, metric in enumerate(("pesq", "mos"))
    )
    config = replace(tiny_config, encoders=encoders, native_score=[first, second])
    network = build_assessor(config).eval()
    nothing = replace(first, shares={"pesq": 0.0}), replace(second, shares={"mos": 0.0})
    alone = build_assessor(replace(config, native_score=list(nothing))).eval()
    alone.load_state_dict(network.state_dict())
    with torch.no_grad():
        heard = network.prepare(*batch)
        says = {
            metric: network.encoders[native.encoder](*heard).native_scores[metric]
            for native, metric in ((first, "pesq"), (second, "mos"))
        }
        mixed, expected = network(*batch), alone(*batch)
    assert torch.equal(mixed.features, expected.features)
    for metric, score in mixed.scores.items():
        before = expected.scores[metric]
        if metric in says:
            before = 0.75 * before + 0.25 * says[metric]
        torch.testing.assert_close(score, before)
        assert metric not in says or not torch.equal(score, expected.scores[metric])


def test_shares_of_one_encoder_may_be_stated_apart(tiny_config) -> None:
    heads = {
        "peak_head": {"metrics": ["pesq"], "channels": [4, 4]},
        "frame_head": {"metrics": ["mos"], "channels": [4, 4], "frame_dim": 6},
    }
    speaking = EncoderConfig("spectral_transformer", {**SPECTRAL_TRANSFORMER, **heads})
    apart = [NativeScoreConfig(encoder=0, shares={metric: 0.5}) for metric in ("pesq", "mos")]
    build_assessor(replace(tiny_config, encoders=[speaking], native_score=apart))


def test_a_model_without_hidden_states_is_refused(tiny_config) -> None:
    head = {"metrics": ["pesq"], "channels": [4, 4]}
    silent = {**SPECTRAL_TRANSFORMER, **SILENT, "peak_head": head}
    config = replace(
        tiny_config,
        encoders=[EncoderConfig("spectral_transformer", silent)],
        native_score=NativeScoreConfig(encoder=0, shares={"pesq": 0.5}),
    )
    with pytest.raises(ConfigError, match=r"model\.encoders: no encoder gives hidden states"):
        build_assessor(config)


def test_two_shares_in_one_score_are_refused(tiny_config) -> None:
    twice = [NativeScoreConfig(encoder=0, shares={"mos": 0.5})] * 2
    with pytest.raises(ValueError, match="native_score: two encoders have a share of mos"):
        replace(tiny_config, native_score=twice)


@pytest.mark.parametrize(
    ("stated", "where"),
    [
        ({"encoder": 0, "shares": {"mos": 2.0}}, r"native_score: shares\.mos: expected 0"),
        ([{"encoder": 0, "shares": {"mos": "half"}}], r"native_score\.0\.shares\.mos"),
    ],
)
def test_what_is_wrong_is_named_in_one_and_in_a_list(stated, where, tiny_config) -> None:
    data = {**to_dict(tiny_config), "native_score": stated}
    with pytest.raises(ConfigError, match=where):
        from_dict(ModelConfig, data, where="model")


def test_scores_that_the_encoder_has_not_are_refused(tiny_config) -> None:
    head = {"metrics": ["dnsmos_sig"], "channels": [4, 4]}
    speaking = EncoderConfig("spectral_transformer", {**SPECTRAL_TRANSFORMER, "peak_head": head})
    native_score = NativeScoreConfig(encoder=0, shares={"mos": 1.0})
    config = replace(tiny_config, encoders=[speaking], native_score=native_score)
    with pytest.raises(ConfigError, match="no score of its own for 'mos'; it gives dnsmos_sig"):
        build_assessor(config)
    with pytest.raises(
        ConfigError, match=r"encoders\.0\.options: nothing would train .* dnsmos_sig"
    ):
        build_assessor(replace(config, native_score=None))


@pytest.mark.parametrize(
    ("native_score", "message"),
    [
        ({"encoder": 9, "metric": "mos"}, r"native_score\.encoder: expected 0 to"),
        ({"encoder": 0, "metric": "mcd"}, "has no metric 'mcd'"),
        ({"encoder": 0, "metric": "mos", "shares": {"estoi": 0.5}}, "'estoi' is not in the group"),
        ({"encoder": 0, "metric": "mos", "shares": {"mos": 1.5}}, "shares.mos: expected 0 to 1"),
        ({"encoder": 0, "shares": {"mcd": 0.5}}, "'mcd'"),
    ],
)
def test_what_does_not_fit_is_refused(native_score, message, tiny_config) -> None:
    with pytest.raises(ValueError, match=message):
        replace(tiny_config, native_score=NativeScoreConfig(**{"shares": {}, **native_score}))
