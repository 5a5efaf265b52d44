import pytest
import torch
from torch import nn

from urgentmos.model.encoders.framing import Spectrum
from urgentmos.model.unfilled import Bounded, Unfilled


def test_weights_wait_for_others_while_windows_are_computed() -> None:
    with Unfilled([torch.zeros(6)]):
        linear, spectrum = nn.Linear(2, 3), Spectrum(window_samples=8, hop_samples=4)
    assert linear.weight.is_meta
    assert linear.bias.is_meta
    assert torch.equal(spectrum.window, torch.hann_window(8))
    weights = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    linear.load_state_dict(weights, assign=True)
    assert torch.equal(linear(torch.ones(2)), torch.full((3,), 3.0))


def test_a_table_of_positions_larger_than_the_weights_is_refused_before_it_is_made() -> None:
    positions, frequencies = torch.arange(4_000_000)[:, None], torch.arange(100_000)[None]
    with Unfilled([torch.zeros(6)]), pytest.raises(ValueError, match=r"\(4000000, 100000\)"):
        positions * frequencies


@pytest.mark.parametrize("make", [torch.zeros, torch.ones, torch.arange, torch.hann_window])
def test_a_filled_tensor_larger_than_the_weights_is_refused_before_it_is_made(make) -> None:
    with Unfilled([torch.zeros(6)]), pytest.raises(ValueError, match="larger than all 6 values"):
        make(10**13)


def test_more_modules_than_the_weights_can_fill_are_refused() -> None:
    with Unfilled([torch.zeros(6)]), pytest.raises(ValueError, match="than the 1 tensors"):
        nn.ModuleList(nn.Linear(1, 1) for _ in range(10**6))


def test_what_runs_when_it_is_built_has_weights_and_is_bounded_all_the_same() -> None:
    with Bounded([torch.zeros(6)]):
        assert nn.Linear(2, 3)(torch.ones(2)).shape == (3,)
        with pytest.raises(ValueError, match=r"\(100000, 100000\)"):
            nn.Linear(10**5, 10**5)
        with pytest.raises(ValueError, match=r"\(10000000000,\)"):
            torch.FloatTensor(1).expand(10**10).uniform_()
        with pytest.raises(ValueError, match="than the 1 tensors"):
            nn.ModuleList(nn.Linear(1, 1) for _ in range(10**4))
