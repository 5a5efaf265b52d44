import copy
import importlib.util
import pickle  # noqa: TID251 - as spawned processes do
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from urgentmos.config import ConfigError
from urgentmos.extras import MissingExtraError
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, FusionConfig, GroupConfig, ModelConfig
from urgentmos.model.encoders import build_encoder
from urgentmos.model.encoders.distill_mos import DistillMosEncoder
from urgentmos.model.network import build_assessor

pytest.importorskip("distillmos", exc_type=ImportError)

WINDOW = 122_880


@pytest.fixture(scope="module")
def encoder() -> DistillMosEncoder:
    built = build_encoder(EncoderConfig("distill_mos")).eval()
    assert isinstance(built, DistillMosEncoder)
    return built


@pytest.fixture(scope="module")
def package() -> nn.Module:
    with pytest.MonkeyPatch.context() as patch:
        # The package imports it only to read files, and it fails next to many builds of torch.
        patch.setitem(sys.modules, "torchaudio", ModuleType("torchaudio"))
        sqa = importlib.import_module("distillmos.sqa")
    model = sqa.ConvTransformerSQAModel(load_weights=False)
    stored = torch.load(sqa.DEFAULT_WEIGHTS_CHKPT, map_location="cpu", weights_only=True)  # noqa: TID251
    model.load_state_dict(stored["model"])
    return model.eval()


def score_by_the_package(package: nn.Module, trunk_output: torch.Tensor) -> torch.Tensor:
    head = package.transformer_pool_attn
    normed = head.norm_trans(trunk_output.transpose(1, 2)).transpose(1, 2)
    return 1 + 4 * head.sigmoid(head.pool(normed).squeeze(-1))


def package_layers(package: nn.Module, window: torch.Tensor) -> torch.Tensor:
    head = package.transformer_pool_attn
    wrapper = head.transformer
    features = package.cnn(window / (window.abs().amax(dim=1, keepdim=True) + 1e-8))
    embedded = wrapper.linear_proj(wrapper.norm(head.norm_input(features)).transpose(1, 2))
    states = [wrapper.position_encoding(embedded)]
    for layer in wrapper.transformer_encoder.layers:
        states.append(layer(states[-1]))
    return torch.stack(states, dim=1)


@pytest.mark.parametrize("samples", [800, 16000 + 7, WINDOW - 3, WINDOW])
def test_package_head_on_our_trunk_gives_the_package_score(samples, encoder, package, recordings):
    waveform, _ = recordings([samples])
    with torch.no_grad():
        hidden = encoder.tower.embed(waveform)
        hidden = encoder.run_layers(encoder.tower.layers, hidden)[-1]
        ours = score_by_the_package(package, hidden)
        torch.testing.assert_close(ours, package(waveform).flatten(), atol=1e-5, rtol=0)


def test_hidden_states_are_those_of_the_package(encoder, package, recordings):
    waveform, lengths = recordings([24_000])
    with torch.no_grad():
        output = encoder(waveform, lengths)
        padded = torch.nn.functional.pad(waveform, (0, WINDOW - 24_000))
        expected = package_layers(package, padded)[:, :, :75]
    assert output.lengths.tolist() == [75]
    torch.testing.assert_close(output.hidden_states, expected, atol=1e-5, rtol=1e-5)


def test_long_recordings_are_heard_in_windows_that_end_with_them(encoder, recordings):
    samples = WINDOW + 16_100
    waveform, lengths = recordings([samples])
    with torch.no_grad():
        output = encoder(waveform, lengths)
        first = encoder(waveform[:, :WINDOW], torch.tensor([WINDOW]))
        start = 16_320  # the first whole frame from which the recording fits one window
        last = encoder(waveform[:, start:], lengths - start)
    assert output.lengths.tolist() == [-(-samples // 320)]
    torch.testing.assert_close(output.hidden_states[:, :, :384], first.hidden_states)
    torch.testing.assert_close(
        output.hidden_states[:, :, 384:], last.hidden_states[:, :, 384 - start // 320 :]
    )


@pytest.mark.parametrize("trainable", [0, 2, "all"])
def test_convolutions_are_trained_with_all_alone(trainable):
    encoder = build_encoder(EncoderConfig("distill_mos", {"trainable_layers": trainable})).train()
    parameters = encoder.tower.convolutions.parameters()
    assert {parameter.requires_grad for parameter in parameters} == {trainable == "all"}


def test_too_many_trained_layers_are_refused():
    with pytest.raises(ConfigError, match="expected 0 to 7"):
        build_encoder(EncoderConfig("distill_mos", {"trainable_layers": 8}))


def model_config(**options: object) -> ModelConfig:
    return ModelConfig(
        encoders=[EncoderConfig("distill_mos", dict(options))],
        fusion=FusionConfig(8),
        groups={"naturalness": GroupConfig(["mos"], layers=1, heads=2, feedforward=8)},
    )


def test_frozen_trunk_is_read_from_the_package_not_from_the_model(tmp_path: Path, recordings):
    config = model_config()
    network = build_assessor(config).eval()
    save_model(tmp_path, network, config, {})
    assert (tmp_path / "model.safetensors").stat().st_size < 100_000
    waveform, lengths = recordings([8000])
    with torch.no_grad():
        expected = network(waveform, lengths).scores["mos"]
        loaded = load_model(tmp_path).network(waveform, lengths).scores["mos"]
    torch.testing.assert_close(loaded, expected)


def test_a_model_with_a_frozen_trunk_can_be_pickled_and_copied(recordings):
    network = build_assessor(model_config()).eval()
    waveform, lengths = recordings([8000])
    with torch.no_grad():
        expected = network(waveform, lengths).scores["mos"]
        for again in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
            torch.testing.assert_close(again(waveform, lengths).scores["mos"], expected)
            assert again.state_dict().keys() == network.state_dict().keys()
            tower = again.encoders[0].tower
            tower.projection.bias += 1.0
            again.load_state_dict(network.state_dict())
            # Its own is kept, not that of the network it is a copy of.
            assert not tower.projection.bias.equal(network.encoders[0].tower.projection.bias)


def test_trained_trunk_is_stored_with_the_model(tmp_path: Path, recordings):
    config = model_config(trainable_layers="all")
    network = build_assessor(config).eval()
    with torch.no_grad():
        network.encoders[0].tower.projection.bias += 1.0
    save_model(tmp_path, network, config, {})
    waveform, lengths = recordings([8000])
    with torch.no_grad():
        expected = network(waveform, lengths).scores["mos"]
        loaded = load_model(tmp_path).network(waveform, lengths).scores["mos"]
    torch.testing.assert_close(loaded, expected)


def test_another_version_of_the_weights_is_refused():
    with pytest.raises(ConfigError, match="install the version of distillmos"):
        build_encoder(EncoderConfig("distill_mos", {"digest": "0" * 64}))


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'urgentmos\[accurate\]'"):
        build_encoder(EncoderConfig("distill_mos"))


def test_neither_torchaudio_nor_the_package_is_imported():
    code = (
        "import sys; from urgentmos.model.encoders import build_encoder;"
        "from urgentmos.model.config import EncoderConfig;"
        "build_encoder(EncoderConfig('distill_mos'));"
        "print([name for name in ('torchaudio', 'distillmos') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_averaged_frames_are_means_over_each_recording_s_own_frames() -> None:
    waveform, lengths = torch.randn(2, 16000) * 0.1, torch.tensor([16000, 9000])
    waveform[1, 9000:] = 0.0
    plain = build_encoder(EncoderConfig("distill_mos")).eval()
    averaging = build_encoder(EncoderConfig("distill_mos", {"averaged_frames": 4})).eval()
    with torch.no_grad():
        every, averaged = plain(waveform, lengths), averaging(waveform, lengths)
    assert averaging.frame_rate == 12.5
    assert averaged.lengths.tolist() == [13, 8]
    assert torch.allclose(
        averaged.hidden_states[0, :, 12], every.hidden_states[0, :, 48:50].mean(1)
    )
    # 9000 samples are 29 frames: the last mean has one.
    assert torch.allclose(averaged.hidden_states[1, :, 7], every.hidden_states[1, :, 28])
    assert torch.allclose(averaged.hidden_states[1, :, 0], every.hidden_states[1, :, :4].mean(1))


def native_score(encoder, waveform, lengths) -> torch.Tensor:
    """What the encoder's own head says."""
    return encoder(waveform, lengths).native_scores["distill_mos"]


@pytest.mark.parametrize("averaged_frames", [1, 4])
def test_native_score_is_what_the_package_says(averaged_frames, package, recordings):
    options = {"averaged_frames": averaged_frames}
    encoder = build_encoder(EncoderConfig("distill_mos", options)).eval()
    for samples in (800, 24_000, WINDOW):
        waveform, lengths = recordings([samples])
        with torch.no_grad():
            said = native_score(encoder, waveform, lengths)
            torch.testing.assert_close(said, package(waveform).flatten(), atol=1e-4, rtol=0)


def test_native_score_belongs_to_the_recording_and_is_the_mean_over_its_windows(recordings):
    encoder = build_encoder(EncoderConfig("distill_mos")).eval()
    waveform, lengths = recordings([WINDOW + 8000, 9000], padded_to=WINDOW + 9000)
    with torch.no_grad():
        together = native_score(encoder, waveform, lengths)
        short = native_score(encoder, waveform[1:, :9000], lengths[1:])
        begin = native_score(encoder, waveform[:1, :WINDOW], torch.tensor([WINDOW]))
        # The last window starts at a whole frame.
        end = native_score(encoder, waveform[:1, 8000 : WINDOW + 8000], torch.tensor([WINDOW]))
    expected = torch.cat([(begin + end) / 2, short])
    torch.testing.assert_close(together, expected, atol=1e-4, rtol=0)


def test_gradient_of_the_native_score_agrees_with_a_finite_difference(recordings):
    encoder = build_encoder(EncoderConfig("distill_mos")).eval().double()
    waveform, lengths = recordings([6000])
    waveform = waveform.double().requires_grad_()
    native_score(encoder, waveform, lengths).sum().backward()
    direction = torch.randn(waveform.shape, generator=torch.Generator().manual_seed(0)).double()
    step = 1e-9
    with torch.no_grad():
        up, down = (native_score(encoder, waveform + s * direction, lengths) for s in (step, -step))
    expected = float((up - down).sum()) / (2 * step)
    assert float((waveform.grad * direction).sum()) == pytest.approx(expected, rel=0.02)


def test_head_of_the_native_score_stays_frozen_and_is_not_stored_with_a_frozen_trunk() -> None:
    encoder = build_encoder(EncoderConfig("distill_mos")).train()
    assert not encoder.state_dict()
    assert not encoder.head.training
    trained = build_encoder(EncoderConfig("distill_mos", {"trainable_layers": "all"}))
    assert not any(parameter.requires_grad for parameter in trained.head.parameters())
    assert any(name.startswith("head.") for name in trained.state_dict())


@pytest.mark.parametrize("averaged_frames", [0, 385])
def test_no_frames_or_more_than_a_window_s_to_average_are_refused(averaged_frames: int) -> None:
    told = f"averaged_frames: expected 1 to 384, got {averaged_frames}"
    with pytest.raises(ConfigError, match=told):
        build_encoder(EncoderConfig("distill_mos", {"averaged_frames": averaged_frames}))
