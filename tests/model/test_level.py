import pytest
import torch

from urgentmos.model.level import keep_level, normalise_rms


def test_every_recording_comes_to_minus_26_db_over_its_own_samples() -> None:
    waveform = torch.randn(2, 4000) * torch.tensor([[0.001], [3.0]])
    waveform[1, 1500:] = 0
    level = normalise_rms(waveform, torch.tensor([4000, 1500]))
    assert level[0].square().mean().sqrt().item() == pytest.approx(10 ** (-26 / 20), rel=1e-4)
    assert level[1, :1500].square().mean().sqrt().item() == pytest.approx(10 ** (-26 / 20))


def test_gain_does_not_matter() -> None:
    waveform = 0.1 * torch.randn(1, 1000)
    lengths = torch.tensor([1000])
    torch.testing.assert_close(
        normalise_rms(waveform, lengths), normalise_rms(0.05 * waveform, lengths), atol=1e-5, rtol=0
    )


def test_silence_stays_silent_with_a_finite_gradient() -> None:
    waveform = torch.zeros(1, 100, requires_grad=True)
    level = normalise_rms(waveform, torch.tensor([100]))
    level.sum().backward()
    assert bool((level == 0).all())
    assert waveform.grad is not None
    assert bool(torch.isfinite(waveform.grad).all())


@pytest.mark.parametrize(("power_db", "level_db"), [(-80, -26), (-100, -29), (-120, -46)])
def test_from_100_db_below_full_scale_on_the_gain_stops_growing(
    power_db: int, level_db: int
) -> None:
    waveform = torch.full((1, 1000), 10 ** (power_db / 20))
    level = normalise_rms(waveform, torch.tensor([1000]))
    assert 20 * level.mean().log10().item() == pytest.approx(level_db, abs=0.1)


def test_a_level_can_be_kept() -> None:
    waveform = torch.randn(1, 10)
    assert keep_level(waveform, torch.tensor([10])) is waveform
