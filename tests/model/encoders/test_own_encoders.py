"""What every encoder of our own keeps, whatever it hears."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders import Encoder, build_encoder

Speech = Callable[..., np.ndarray]
OWN = ["log_mel", "complex_spectrum", "spectral_transformer"]
TINY_TRANSFORMER = EncoderConfig(
    "spectral_transformer",
    {
        "dim": 8, "channels": [4, 4, 4], "time_strides": [2, 2, 1], "frequency_strides": [4, 4, 4],
        "layers": 2, "heads": 2, "feedforward": 16, "window_frames": 7, "averaged_frames": 2,
    },
)  # fmt: skip


@pytest.fixture(params=OWN)
def encoder(request: pytest.FixtureRequest, tiny_config: ModelConfig) -> Encoder:
    configs = {each.family: each for each in [*tiny_config.encoders, TINY_TRANSFORMER]}
    torch.manual_seed(0)
    return build_encoder(configs[request.param]).eval()


def batch_of(waveforms: list[np.ndarray], samples: int) -> tuple[Tensor, Tensor]:
    batch = torch.zeros(len(waveforms), samples)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return batch, torch.tensor([len(waveform) for waveform in waveforms])


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 3199, 4801, 7777])
def test_features_do_not_depend_on_padding_or_batch_mates(
    encoder: Encoder, speech: Speech, samples: int
) -> None:
    recording = speech(0.6)[:samples]
    mates = [speech(0.7, seed=1), 0.99 * np.sign(speech(0.3, seed=2))]
    alone = encoder(*batch_of([recording], len(recording)))
    together = encoder(*batch_of([mates[0], recording, mates[1]], 16001))
    frames = int(alone.lengths[0])
    assert int(together.lengths[1]) == frames == alone.hidden_states.shape[2]
    torch.testing.assert_close(
        together.hidden_states[1, :, :frames], alone.hidden_states[0], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["silence", "one sample", "dc", "clipped", "loud", "impulse"])
def test_features_and_gradient_are_finite_on_anything(
    encoder: Encoder, speech: Speech, kind: str
) -> None:
    waveform = {
        "silence": torch.zeros(1, 4000),
        "one sample": torch.full((1, 1), 0.5),
        "dc": torch.full((1, 4000), 0.5),
        "clipped": torch.from_numpy(np.sign(speech(0.25)))[None],
        "loud": 1e4 * torch.from_numpy(speech(0.25))[None],
        "impulse": torch.eye(1, 4000),
    }[kind].requires_grad_()
    output = encoder(waveform, torch.tensor([waveform.shape[1]]))
    output.hidden_states.square().sum().backward()
    assert bool(torch.isfinite(output.hidden_states).all())
    assert waveform.grad is not None
    assert bool(torch.isfinite(waveform.grad).all())


def test_what_the_encoder_says_of_itself_is_true(encoder: Encoder, speech: Speech) -> None:
    waveform = torch.from_numpy(speech(2.0))[None].requires_grad_()
    output = encoder(waveform, torch.tensor([32000]))
    _, layers, frames, dim = output.hidden_states.shape
    assert (layers, dim) == (encoder.num_layers, encoder.dim)
    assert abs(frames / 2.0 - encoder.frame_rate) < 1
    # Of one feature: over all of them the sum of a normalised state is constant.
    output.hidden_states[:, -1, :, 0].sum().backward()
    assert encoder.differentiable
    assert waveform.grad is not None
    assert float((waveform.grad != 0).float().mean()) > 0.99


def test_gradient_agrees_with_finite_differences(
    encoder: Encoder,
    recordings: Callable[..., object],
    assert_gradient_is_right: Callable[..., None],
) -> None:
    # Compression bends sharply near zero.
    assert_gradient_is_right(encoder, recordings([3000, 2000]), step=1e-9)


def test_layers_differ(encoder: Encoder, speech: Speech) -> None:
    states = encoder(*batch_of([speech(0.5)], 8000)).hidden_states[0]
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in pairwise(states))


@pytest.mark.parametrize("family", OWN)
def test_default_options_build(family: str) -> None:
    encoder = build_encoder(EncoderConfig(family))
    assert encoder.num_layers > 1


def test_encoders_trained_from_scratch_see_speech_at_different_time_resolutions() -> None:
    rates = [build_encoder(EncoderConfig(family)).frame_rate for family in OWN[:2]]
    assert rates[0] != rates[1]
