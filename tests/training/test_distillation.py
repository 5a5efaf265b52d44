import torch

from urgentmos.data.features import StoredStates
from urgentmos.model.encoders import EncoderOutput
from urgentmos.model.network import NetworkOutput
from urgentmos.training.distillation import Distillation, StudentDistillation

MEAN, STD = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 2.0], [0.5, 1.0]])


def output(frames: int = 3) -> NetworkOutput:
    torch.manual_seed(0)
    features = torch.randn(1, frames, 4)
    return NetworkOutput({}, features, features + 1, torch.ones(1, frames, dtype=torch.bool))


def states(frames: int = 3) -> StoredStates:
    torch.manual_seed(1)
    return StoredStates(
        MEAN[:, None] + STD[:, None] * torch.randn(1, 2, frames, 2), torch.tensor([frames])
    )


def test_the_loss_is_the_mean_squared_error_of_standardised_states() -> None:
    distillation = Distillation(4, mean=MEAN, std=STD, from_group=True)
    out, teacher = output(), states()
    standardised = (teacher.hidden_states[0] - MEAN[:, None]) / STD[:, None]
    both = distillation.from_features(out.features)[0]
    assert distillation.from_group is not None
    assert out.frames is not None
    last = distillation.from_group(out.frames)[0]
    errors = [
        (both[:, :2] - standardised[0]).square().mean() / 2
        + (both[:, 2:] - standardised[1]).square().mean() / 2,
        (last - standardised[1]).square().mean(),
    ]
    assert torch.allclose(distillation(out, teacher), sum(errors) / 2)


def test_predicting_the_mean_leaves_all_of_the_variance() -> None:
    torch.manual_seed(2)
    teacher = StoredStates(torch.randn(1, 2, 400, 2), torch.tensor([400]))
    moments = teacher.hidden_states[0].mean(1), teacher.hidden_states[0].std(1)
    distillation = Distillation(4, mean=moments[0], std=moments[1], from_group=False)
    torch.nn.init.zeros_(distillation.from_features.weight)
    torch.nn.init.zeros_(distillation.from_features.bias)
    assert abs(distillation(output(400), teacher).item() - 1) < 0.01


def test_padding_counts_for_nothing() -> None:
    distillation = Distillation(4, mean=MEAN, std=STD, from_group=True)
    features = torch.randn(2, 5, 4)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    teacher = StoredStates(torch.randn(2, 2, 5, 2), torch.tensor([5, 3]))
    before = distillation(NetworkOutput({}, features, features + 1, mask), teacher)
    features[1, 3:] = 100.0
    teacher.hidden_states[1, :, 3:] = 100.0
    after = distillation(NetworkOutput({}, features, features + 1, mask), teacher)
    assert torch.equal(before, after)


def test_a_teacher_at_another_frame_rate_is_stretched() -> None:
    distillation = Distillation(4, mean=MEAN, std=STD, from_group=False)
    teacher = states(6)
    # Frames at half the rate stand between pairs of the teacher's.
    halved = teacher.hidden_states.unflatten(2, (3, 2)).mean(dim=3)
    assert torch.allclose(
        distillation(output(), teacher),
        distillation(output(), StoredStates(halved, torch.tensor([3]))),
        atol=1e-6,
    )


class TestStudentDistillation:
    def test_the_loss_is_the_mean_squared_difference_in_standard_deviations(self) -> None:
        teacher = states()
        given = torch.randn(1, 2, 3, 2)
        loss = StudentDistillation(std=STD)(EncoderOutput(given, torch.tensor([3])), teacher)
        differences = (given - teacher.hidden_states) / STD[None, :, None]
        assert torch.allclose(loss, differences.square().mean())

    def test_the_teacher_s_own_states_leave_nothing(self) -> None:
        teacher = states()
        copied = EncoderOutput(teacher.hidden_states, teacher.lengths)
        assert StudentDistillation(std=STD)(copied, teacher).item() == 0

    def test_padding_counts_for_nothing(self) -> None:
        lengths = torch.tensor([5, 3])
        given, wanted = torch.randn(2, 2, 5, 2), torch.randn(2, 2, 5, 2)
        distillation = StudentDistillation(std=STD)
        before = distillation(EncoderOutput(given, lengths), StoredStates(wanted, lengths))
        given[1, :, 3:] = wanted[1, :, 3:] = 100.0
        given[1, :, 4] = -100.0
        after = distillation(EncoderOutput(given, lengths), StoredStates(wanted, lengths))
        assert torch.equal(before, after)
