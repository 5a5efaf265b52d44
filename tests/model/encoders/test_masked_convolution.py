import pytest
import torch

from urgentmos.model.encoders.masked_convolution import (
    BlockStack,
    ConvolutionStem,
    FrequencyMap,
    MaskedConv2d,
)


@pytest.mark.parametrize("time_stride", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 2, 7, 10])
def test_a_convolution_sees_no_padding(time_stride: int, length: int) -> None:
    torch.manual_seed(0)
    layer = MaskedConv2d(2, 3, time_stride=time_stride, frequency_stride=2)
    features = torch.randn(1, 2, length, 9)
    padded = torch.nn.functional.pad(features, (0, 0, 0, 13))
    alone, alone_lengths, _ = layer(FrequencyMap(features, torch.tensor([length]), length))
    together, lengths, shortest = layer(FrequencyMap(padded, torch.tensor([length]), length))
    assert lengths.tolist() == alone_lengths.tolist() == [shortest] == [-(-length // time_stride)]
    assert alone.shape[2] == lengths.item()
    torch.testing.assert_close(together[:, :, : alone.shape[2]], alone)
    assert bool((together[:, :, alone.shape[2] :] == 0).all())


def test_in_place_masking_leaves_the_gradient_right() -> None:
    torch.manual_seed(0)
    layer = MaskedConv2d(1, 2, time_stride=2, frequency_stride=2).double()
    features = torch.randn(2, 1, 6, 5, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([6, 3])
    assert torch.autograd.gradcheck(lambda x: layer(FrequencyMap(x, lengths, 3))[0], (features,))


def test_the_stem_masks_its_own_input() -> None:
    stem = ConvolutionStem(
        in_channels=1, in_bins=8, channels=[2, 3], time_strides=[1, 2],
        frequency_strides=[2, 2], dim=4,
    )  # fmt: skip
    features = torch.randn(1, 1, 9, 8)
    alone, _ = stem(features[:, :, :5], torch.tensor([5]))
    together, lengths = stem(features.clone(), torch.tensor([5]))
    assert lengths.tolist() == [3]
    torch.testing.assert_close(together[:, :3], alone, atol=1e-5, rtol=1e-5)


def test_a_stem_of_uneven_lists_is_refused() -> None:
    with pytest.raises(ValueError, match="of one length, got 2, 1 and 2"):
        ConvolutionStem(
            in_channels=1, in_bins=8, channels=[2, 3], time_strides=[1],
            frequency_strides=[2, 2], dim=4,
        )  # fmt: skip


def test_blocks_give_every_state_and_see_no_padding() -> None:
    torch.manual_seed(0)
    stack = BlockStack(6, num_blocks=3, kernel=5, expansion=2)
    features = torch.randn(1, 9, 6)
    alone = stack(features[:, :4], torch.tensor([4]))
    together = stack(features, torch.tensor([4]))
    assert together.shape == (1, 4, 9, 6)
    torch.testing.assert_close(together[:, 0], features)
    torch.testing.assert_close(together[:, :, :4], alone, atol=1e-5, rtol=1e-5)
