"""What every encoder must hold, as checks that a family's tests call."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import Encoder, EncoderOutput, build_encoder
from urgentmos.model.unfilled import Unfilled

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def recordings(speech: Callable[..., np.ndarray]) -> Callable[..., Batch]:
    """Make a padded batch: ``recordings([samples, ...], padded_to=...)``."""

    def make(lengths: Sequence[int], *, padded_to: int | None = None, seed: int = 0) -> Batch:
        waveform = torch.zeros(len(lengths), padded_to or max(lengths))
        for row, samples in enumerate(lengths):
            waveform[row, :samples] = torch.from_numpy(speech(samples / 16000, seed=seed + row))
        return waveform, torch.tensor(lengths)

    return make


@pytest.fixture
def assert_alone_as_in_batch() -> Callable[..., None]:
    """Check that each recording of a padded batch gets the features it gets alone."""

    def check(encoder: Encoder, batch: Batch, *, tolerance: float = 1e-5) -> None:
        waveform, lengths = batch
        with torch.no_grad():
            together = encoder(waveform, lengths)
            for row, samples in enumerate(lengths.tolist()):
                alone = encoder(waveform[row : row + 1, :samples], lengths[row : row + 1])
                frames = int(alone.lengths[0])
                assert int(together.lengths[row]) == frames
                assert alone.hidden_states.shape == (1, encoder.num_layers, frames, encoder.dim)
                torch.testing.assert_close(
                    together.hidden_states[row, :, :frames],
                    alone.hidden_states[0],
                    atol=tolerance,
                    rtol=tolerance,
                )

    return check


@pytest.fixture
def assert_gradient_is_right() -> Callable[..., None]:
    """Check the gradient at the waveform against finite differences along a random direction."""

    def check(encoder: Encoder, batch: Batch, *, step: float = 1e-6) -> None:
        encoder = encoder.double()
        waveform, lengths = batch[0].double().requires_grad_(), batch[1]
        generator = torch.Generator().manual_seed(0)
        output = encoder(waveform, lengths)
        weights = torch.randn(output.hidden_states.shape, generator=generator, dtype=torch.float64)
        valid = torch.arange(weights.shape[2]) < output.lengths[:, None]
        weights = weights * valid[:, None, :, None]

        def head(result: EncoderOutput) -> Tensor:
            return (result.hidden_states * weights).sum()

        (gradient,) = torch.autograd.grad(head(output), waveform)
        assert torch.isfinite(gradient).all()
        direction = torch.randn(waveform.shape, generator=generator, dtype=torch.float64)
        direction = direction * (torch.arange(waveform.shape[1]) < lengths[:, None])
        with torch.no_grad():
            ahead = head(encoder(waveform + step * direction, lengths))
            behind = head(encoder(waveform - step * direction, lengths))
        expected = float(ahead - behind) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3)
        assert abs(expected) > 1e-9

    return check


@pytest.fixture
def assert_gradient_is_that_of_checkpointing() -> Callable[..., None]:
    """Check that an encoder and the same one with gradient checkpointing give one gradient."""

    def check(plain: Encoder, saving: Encoder, batch: Batch) -> None:
        gradients = []
        for encoder in (plain, saving):
            waveform = batch[0].clone().requires_grad_()
            encoder(waveform, batch[1]).hidden_states.square().sum().backward()
            gradients.append(waveform.grad)
        torch.testing.assert_close(*gradients)

    return check


@pytest.fixture
def assert_silence_has_finite_gradient() -> Callable[..., None]:
    """Check that digital silence gives finite features and a finite gradient."""

    def check(encoder: Encoder, samples: int) -> None:
        waveform = torch.zeros(1, samples, requires_grad=True)
        output = encoder(waveform, torch.tensor([samples]))
        output.hidden_states.sum().backward()
        assert torch.isfinite(output.hidden_states).all()
        assert waveform.grad is not None
        assert torch.isfinite(waveform.grad).all()

    return check


@pytest.fixture(params=[(0, 0), (1, 1), ("all", 2)], ids=["none", "last", "all"])
def assert_last_layers_are_trained(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Check that of two layers those learn that should: ``check(build, "tower.layers")``."""
    trainable, trained = request.param

    def check(build: Callable[..., Encoder], layers: str) -> None:
        encoder = build(trainable_layers=trainable).train()
        parts = list(encoder.get_submodule(layers).children())
        expected = [False] * (2 - trained) + [True] * trained
        assert [all(p.requires_grad for p in part.parameters()) for part in parts] == expected
        assert [part.training for part in parts] == expected

    return check


@pytest.fixture
def assert_loaded_hears_the_same() -> Callable[..., None]:
    """Check an encoder against one built from what a saved model notes over these options."""

    def check(encoder: Encoder, family: str, batch: Batch, **options: object) -> None:
        noted = {**options, **encoder.stored_options}
        weights = encoder.state_dict()
        with Unfilled(weights.values()):
            again = build_encoder(EncoderConfig(family, json.loads(json.dumps(noted)))).eval()
        again.load_state_dict(weights, assign=True)
        torch.testing.assert_close(again(*batch).hidden_states, encoder(*batch).hidden_states)

    return check
