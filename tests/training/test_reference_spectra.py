import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from urgentmos.model.config import ModelConfig
from urgentmos.model.network import NetworkOutput, build_assessor
from urgentmos.training.reference_spectra import ReferenceSpectra, build_reference_spectra

DIM, BANDS = 8, 40


def predictor(*, frame_rate: float = 25.0, groups: tuple[str, ...] = ("g",)) -> ReferenceSpectra:
    torch.manual_seed(0)
    return ReferenceSpectra(DIM, groups=groups, frame_rate=frame_rate, min_samples=3200)


def output(lengths: Tensor, *, frames: int) -> NetworkOutput:
    torch.manual_seed(1)
    features = torch.randn(len(lengths), frames, DIM)
    mask = torch.arange(frames) < lengths[:, None]
    return NetworkOutput({}, features, None, mask, {"g": features + 1, "other": features})


def speech(*, seconds: float = 1.0, seed: int = 2) -> Tensor:
    """Noise that swells and fades."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(16000 * seconds)) / 16000
    envelope = 0.02 + torch.sin(2 * math.pi * 2 * time).square()
    return (0.1 * envelope * torch.randn(len(time), generator=generator))[None]


def test_of_a_recording_that_is_its_reference_nothing_differs() -> None:
    clean = speech()
    lengths = torch.tensor([16000])
    # Neither a gain nor, but for its edges, a filter is a difference.
    filtered = torch.nn.functional.conv1d(
        clean[None], torch.tensor([[[0.3, 1.0, -0.4]]]), padding=1
    )[0]
    for heard, floor in ((clean, -60.0), (0.1 * clean, -60.0), (filtered, -20.0)):
        spectra = predictor().spectra(heard, clean, lengths)
        reference, difference = 4 * spectra[..., :BANDS] - 6, 4 * spectra[..., BANDS:] - 6
        ratio = 10 * (difference.exp().mean() / reference.exp().mean()).log10()
        assert ratio < floor


def test_what_is_added_to_the_reference_is_what_differs() -> None:
    clean, noise = (
        speech(),
        0.03 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(3)),
    )
    lengths = torch.tensor([16000])
    spectra = predictor().spectra(clean + noise, clean, lengths)
    difference = (4 * spectra[0, :, BANDS:] - 6).exp()
    snr = 10 * (clean.square().mean() / noise.square().mean()).log10()
    reference = (4 * spectra[0, :, :BANDS] - 6).exp()
    measured = 10 * (reference.mean() / difference.mean()).log10()
    assert abs(measured - snr) < 1.0
    # The noise is steady, the reference is not.
    steadiness = difference.mean(dim=1).std() / difference.mean()
    assert steadiness < 0.3 < reference.mean(dim=1).std() / reference.mean()


def test_each_frame_predicts_all_spectra_of_its_time() -> None:
    spectra = predictor(frame_rate=12.5)
    assert spectra.from_features.out_features == 4 * 2 * BANDS
    lengths = torch.tensor([12800])
    clean, heard = speech(seconds=0.8), speech(seconds=0.8, seed=4)
    out = output(torch.tensor([10]), frames=10)
    targets = spectra.spectra(heard, clean, lengths).reshape(1, 10, -1)
    errors = [
        (spectra.from_features(out.features) - targets).square().mean(),
        (spectra.from_groups["g"](out.group_frames["g"]) - targets).square().mean(),
    ]
    assert torch.allclose(spectra(out, heard, clean, lengths), sum(errors) / 2)


def test_neither_padding_nor_recordings_without_a_reference_count() -> None:
    spectra = predictor()
    alone = torch.tensor([12800])
    clean, heard = speech(seconds=0.8), speech(seconds=0.8, seed=4)
    frames = torch.tensor([20])
    expected = spectra(output(frames, frames=20), heard, clean, alone)
    # Beside a longer recording that has no reference, and one too short.
    lengths = torch.tensor([12800, 16000, 3199])
    together = torch.cat(
        [pad(heard, (0, 3200)), speech(), pad(speech(seconds=0.19994), (0, 12801))]
    )
    references = torch.cat([pad(clean, (0, 3200)), torch.zeros(1, 16000), together[2:]])
    out = output(torch.tensor([20, 25, 5]), frames=25)
    first = output(frames, frames=20)
    out.features[0, :20] = first.features[0]
    out.features[0, 20:] = 100.0
    out.group_frames["g"][:] = out.features + 1
    assert torch.allclose(spectra(out, together, references, lengths), expected, atol=1e-6)


def test_without_any_reference_the_loss_is_zero_and_still_has_a_gradient() -> None:
    spectra = predictor()
    out = output(torch.tensor([25]), frames=25)
    loss = spectra(out, speech(), torch.zeros(1, 16000), torch.tensor([16000]))
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in spectra.parameters())


def test_only_groups_that_compare_with_a_reference_predict(tiny_config: ModelConfig) -> None:
    network = build_assessor(tiny_config)
    spectra = build_reference_spectra(network, dim=tiny_config.fusion.dim)
    assert "naturalness" in network.groups
    assert set(spectra.from_groups) == set(network.groups) - {"naturalness"}
    waveform, lengths = speech(), torch.tensor([16000])
    loss = spectra(network(waveform, lengths), waveform, speech(seed=5), lengths)
    loss.backward()
    assert network.fusion.projection.weight.grad is not None
    assert network.fusion.projection.weight.grad.any()


@pytest.mark.parametrize("frame_rate", [12.5, 50.0, 100.0])
def test_a_frame_predicts_at_least_one_spectrum(frame_rate: float) -> None:
    steps = predictor(frame_rate=frame_rate).from_features.out_features // (2 * BANDS)
    assert steps == max(1, round(50 / frame_rate))
