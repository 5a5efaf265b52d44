import pytest
import torch

from urgentmos.masks import check_lengths, divide_up, lengths_to_mask, masked_mean


def test_a_mask_is_true_on_real_frames_only() -> None:
    mask = lengths_to_mask(torch.tensor([1, 3, 0]), 3)
    assert mask.tolist() == [[True, False, False], [True, True, True], [False, False, False]]


def test_the_mean_over_real_frames_equals_the_mean_of_each_recording_alone() -> None:
    features = torch.randn(2, 5, 3)
    mean = masked_mean(features, lengths_to_mask(torch.tensor([5, 2]), 5))
    torch.testing.assert_close(mean[0], features[0].mean(dim=0))
    torch.testing.assert_close(mean[1], features[1, :2].mean(dim=0))


def test_what_stands_in_the_padding_never_counts() -> None:
    features = torch.ones(1, 4, 2)
    features[:, 2:] = float("nan")
    mean = masked_mean(features, lengths_to_mask(torch.tensor([2]), 4))
    assert mean.tolist() == [[1.0, 1.0]]


def test_padding_gets_no_gradient() -> None:
    features = torch.randn(1, 4, 2, requires_grad=True)
    masked_mean(features, lengths_to_mask(torch.tensor([3]), 4)).sum().backward()
    assert features.grad is not None
    assert features.grad[0, 3].tolist() == [0.0, 0.0]
    assert bool((features.grad[0, :3] != 0).all())


def test_a_recording_without_a_real_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="no real frame"):
        masked_mean(torch.ones(2, 3, 1), lengths_to_mask(torch.tensor([2, 0]), 3))


def test_a_started_step_counts_as_one() -> None:
    assert divide_up(torch.tensor([0, 1, 3, 4, 6]), 3).tolist() == [0, 1, 1, 2, 2]


def test_the_mean_of_16_bit_features_is_taken_in_32() -> None:
    # The sum, 100,000, is beyond the largest number of float16.
    features = torch.full((1, 5000, 1), 20.0, dtype=torch.float16)
    mean = masked_mean(features, torch.ones(1, 5000, dtype=torch.bool))
    assert mean.dtype == torch.float32
    assert mean.tolist() == [[20.0]]


def test_lengths_from_one_sample_to_all_are_accepted() -> None:
    check_lengths(torch.tensor([1, 8]), 8)


@pytest.mark.parametrize(("lengths", "told"), [([8, 0], "0 to 8"), ([3, 9], "3 to 9")])
def test_an_empty_recording_or_one_beyond_its_padding_is_refused(
    lengths: list[int], told: str
) -> None:
    with pytest.raises(ValueError, match=f"between 1 and 8 samples, got {told}"):
        check_lengths(torch.tensor(lengths), 8)
