import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from urgentmos.model.encoders import EncoderOutput
from urgentmos.model.fusion import Fusion, LayerMix, align


def test_a_layer_mix_starts_as_the_mean_over_layers() -> None:
    hidden_states = torch.randn(2, 4, 5, 3)
    torch.testing.assert_close(LayerMix(4)(hidden_states), hidden_states.mean(dim=1))


def test_a_one_hot_layer_mix_returns_that_layer() -> None:
    hidden_states = torch.randn(2, 3, 5, 4)
    mix = LayerMix(3)
    mix.weights.data = torch.tensor([0.0, 100.0, 0.0])
    torch.testing.assert_close(mix(hidden_states), hidden_states[:, 1])


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 30), target=st.integers(1, 60))
def test_alignment_of_a_lone_recording_equals_interpolate(frames: int, target: int) -> None:
    features = torch.randn(1, frames, 2)
    aligned = align(features, torch.tensor([frames]), torch.tensor([target]), num_frames=target)
    expected = functional.interpolate(
        features.transpose(1, 2), size=target, mode="linear", align_corners=False
    ).transpose(1, 2)
    torch.testing.assert_close(aligned, expected, atol=1e-5, rtol=1e-5)


def test_alignment_stretches_each_recording_by_its_own_factor() -> None:
    features = torch.randn(3, 9, 2)
    lengths, targets = torch.tensor([9, 4, 1]), torch.tensor([18, 9, 2])
    features[1, 4:] = float("nan")
    features[2, 1:] = float("nan")
    aligned = align(features, lengths, targets, num_frames=18)
    for index, (length, target) in enumerate(zip(lengths, targets, strict=True)):
        alone = align(
            features[index : index + 1, :length],
            lengths[index : index + 1],
            targets[index : index + 1],
            num_frames=int(target),
        )
        torch.testing.assert_close(aligned[index, :target], alone[0])


def test_beyond_its_target_a_recording_repeats_its_last_valid_frame() -> None:
    features = torch.randn(2, 6, 2)
    features[1, 3:] = float("nan")
    aligned = align(features, torch.tensor([6, 3]), torch.tensor([12, 4]), num_frames=12)
    assert torch.equal(aligned[1, 4:], features[1, 2].expand(8, 2))


def test_each_recording_gets_the_frames_of_the_encoder_that_gave_it_most() -> None:
    fusion = Fusion(layers=[2, 1], dims=[3, 4], dim=5)
    fast = EncoderOutput(torch.randn(2, 2, 8, 3), torch.tensor([8, 1]))
    slow = EncoderOutput(torch.randn(2, 1, 4, 4), torch.tensor([4, 2]))
    features, lengths = fusion([fast, slow])
    assert lengths.tolist() == [8, 2]
    assert features.shape == (2, 8, 5)


def test_padding_of_any_encoder_does_not_reach_valid_frames() -> None:
    fusion = Fusion(layers=[2, 1], dims=[3, 4], dim=5)
    fast = EncoderOutput(torch.randn(1, 2, 6, 3), torch.tensor([4]))
    slow = EncoderOutput(torch.randn(1, 1, 5, 4), torch.tensor([2]))
    padded, _ = fusion([fast, slow])
    alone, _ = fusion(
        [
            EncoderOutput(fast.hidden_states[:, :, :4], fast.lengths),
            EncoderOutput(slow.hidden_states[:, :, :2], slow.lengths),
        ]
    )
    torch.testing.assert_close(padded[:, :4], alone)


def test_alignment_in_bfloat16_stays_in_time() -> None:
    features = torch.randn(1, 749, 2)
    lengths, targets = torch.tensor([749]), torch.tensor([800])
    exact = align(features, lengths, targets, num_frames=800)
    halved = align(features.bfloat16(), lengths, targets, num_frames=800)
    assert halved.dtype == torch.bfloat16
    # Steps of bfloat16 are 1/128 of a value; positions a frame off would give errors of 1.
    torch.testing.assert_close(halved.float(), exact, atol=0.05, rtol=0.02)
