import math

import pytest
import torch
from torch import Tensor

from urgentmos.training.losses import (
    absolute_loss,
    bradley_terry_loss,
    mos_difference_weight,
    preference_loss,
    qamro_loss,
)

NAN = math.nan


def absolute(scores: Tensor, labels: Tensor, **options: object) -> Tensor:
    arguments: dict[str, object] = {
        "scales": torch.full((scores.shape[1],), 4.0),
        "weights": torch.ones(scores.shape[1]),
        **options,
    }
    return absolute_loss(scores, labels, **arguments)  # type: ignore[arg-type]


def test_the_absolute_loss_is_a_mean_over_items_then_over_metrics() -> None:
    scores = torch.tensor([[3.0, 2.0], [4.0, 2.0], [1.0, 2.0]])
    labels = torch.tensor([[2.0, NAN], [NAN, 4.5], [3.0, NAN]])
    # Metric 1: (1 + 4) / 2; metric 2: 6.25 / 1.
    assert absolute(scores, labels).item() == pytest.approx((2.5 + 6.25) / 2)


def test_a_metric_without_labels_is_not_averaged_in() -> None:
    scores = torch.tensor([[3.0, 2.0]])
    assert absolute(scores, torch.tensor([[1.0, NAN]])).item() == 4.0


def test_metric_weights_weigh_the_means() -> None:
    scores, labels = torch.zeros(1, 2), torch.tensor([[1.0, 2.0]])
    loss = absolute(scores, labels, weights=torch.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx((3 * 1 + 1 * 4) / 4)


def test_an_error_is_stated_on_the_width_of_the_mos_scale() -> None:
    # 5 dB of a 50 dB scale are 0.4 points of MOS.
    loss = absolute(torch.tensor([[5.0]]), torch.tensor([[0.0]]), scales=torch.tensor([50.0]))
    assert loss.item() == pytest.approx(0.16)


@pytest.mark.parametrize(("name", "expected"), [("mse", 2.125), ("l1", 1.25), ("huber", 0.8125)])
def test_each_regression_penalty_has_its_formula(name: str, expected: float) -> None:
    # Errors 2 and 0.5: squares 4, 0.25; sizes 2, 0.5; Huber 2 - 0.5, 0.125.
    loss = absolute(torch.tensor([[2.0], [0.5]]), torch.zeros(2, 1), regression=name)
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mse", "l1", "huber"])
def test_an_unlabelled_item_gets_a_gradient_of_exactly_zero(name: str) -> None:
    scores = torch.tensor([[3.0, 2.0], [4.0, 1.0]], requires_grad=True)
    absolute(scores, torch.tensor([[NAN, 4.0], [NAN, NAN]]), regression=name).backward()
    assert scores.grad is not None
    assert (scores.grad == 0).tolist() == [[True, False], [True, True]]


def test_without_any_label_the_loss_is_zero_and_so_is_its_gradient() -> None:
    scores = torch.ones(2, 3, requires_grad=True)
    loss = absolute(scores, torch.full((2, 3), NAN))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_shares_of_a_global_batch_add_up_to_its_absolute_loss() -> None:
    scores = torch.randn(6, 3)
    labels = torch.where(torch.rand(6, 3) < 0.4, NAN, torch.randn(6, 3))
    counts = (~labels.isnan()).sum(0).float()
    shares = [absolute(scores[i], labels[i], counts=counts) for i in (slice(0, 1), slice(1, 6))]
    torch.testing.assert_close(sum(shares), absolute(scores, labels))


def test_the_preference_loss_is_half_squared_error_half_cross_entropy() -> None:
    loss = preference_loss(
        torch.tensor([1.0, 0.0]),
        torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        target_cmos=torch.tensor([3.0, -1.0]),
        target_preference=torch.tensor([1, -1]),
    )
    entropy_a = math.log(math.e**2 + 2) - 2
    expected = 0.5 * ((4 + 1) / 2) + 0.5 * ((entropy_a + math.log(3)) / 2)
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize(("preference", "favoured"), [(1, 0), (0, 1), (-1, 2)])
def test_classes_are_in_the_order_a_better_tie_b_better(preference: int, favoured: int) -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    preference_loss(
        torch.zeros(1),
        logits,
        target_cmos=torch.zeros(1),
        target_preference=torch.tensor([preference]),
    ).backward()
    assert logits.grad is not None
    assert logits.grad.argmin().item() == favoured


def test_a_pair_of_which_nothing_is_known_counts_nowhere() -> None:
    cmos = torch.tensor([1.0, 5.0], requires_grad=True)
    logits = torch.randn(2, 3, requires_grad=True)
    arguments = {"target_cmos": torch.tensor([0.0, NAN]), "target_preference": torch.tensor([0, 0])}
    loss = preference_loss(cmos, logits, **arguments)
    loss.backward()
    alone = preference_loss(cmos[:1], logits[:1], **{k: v[:1] for k, v in arguments.items()})
    torch.testing.assert_close(loss, alone)
    assert cmos.grad is not None
    assert logits.grad is not None
    assert cmos.grad[1] == 0
    assert not logits.grad[1].any()


def test_bradley_terry_is_the_log_chance_of_the_better_winning() -> None:
    loss = bradley_terry_loss(
        torch.tensor([2.0, 3.0, 7.0, 7.0]), direction=torch.tensor([1.0, -1.0, 0.0, NAN])
    )
    # The first pair is right by 2, the second wrong by 3.
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(3))) / 2
    assert loss.item() == pytest.approx(expected)


def test_bradley_terry_without_a_decided_pair_is_zero() -> None:
    assert bradley_terry_loss(torch.tensor([1.0]), direction=torch.tensor([0.0])).item() == 0
    assert bradley_terry_loss(torch.zeros(0), direction=torch.zeros(0)).item() == 0


def test_bradley_terry_weighs_each_pair() -> None:
    loss = bradley_terry_loss(
        torch.zeros(2), direction=torch.ones(2), weights=torch.tensor([1.0, 2.0])
    )
    assert loss.item() == pytest.approx(1.5 * math.log(2))


def test_the_weight_of_a_gap_is_the_size_of_the_reward_of_getting_it_wrong() -> None:
    gaps = torch.tensor([0.0, 1.0, 2.0, 5.0, NAN])
    weights = mos_difference_weight(gaps, widest=2.0)
    rewards = [-1 + 0.5 * (-1 + math.cos(math.pi * share)) for share in (0.0, 0.5, 1.0, 1.0, 0.0)]
    torch.testing.assert_close(weights, -torch.tensor(rewards))


def qamro_by_hand(scores: Tensor, labels: Tensor, alpha: float, beta: float) -> float:
    p, y = scores.tolist(), labels.tolist()
    q = [(v - min(y)) / (max(y) - min(y)) for v in y]
    terms = []
    for i in range(len(y)):
        for j in range(i + 1, len(y)):
            if y[i] != y[j]:
                weight = 1 + (beta - 1) * max(q[i], q[j])
                sign = 1 if y[i] > y[j] else -1
                terms.append(weight * max(0.0, alpha * abs(y[i] - y[j]) - sign * (p[i] - p[j])))
    return sum(terms) / len(terms)


def test_qamro_equals_its_formula_pair_by_pair() -> None:
    scores, labels = torch.randn(8), torch.tensor([1.0, 2, 2, 3.5, 4, 4, 1.5, 5])
    expected = qamro_by_hand(scores, labels, 0.2, 7.0)
    assert qamro_loss(scores, labels).item() == pytest.approx(expected, rel=1e-5)


def test_qamro_leaves_unlabelled_recordings_out() -> None:
    scores, labels = torch.randn(6, requires_grad=True), torch.tensor([1.0, NAN, 3, 4, NAN, 2])
    loss = qamro_loss(scores, labels)
    loss.backward()
    kept = ~labels.isnan()
    torch.testing.assert_close(loss, qamro_loss(scores[kept], labels[kept]))
    assert scores.grad is not None
    assert not scores.grad[~kept].any()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("labels", [[2.0, 2.0], [NAN, 3.0], [NAN, NAN]])
def test_qamro_is_zero_where_no_two_labels_differ(labels: list[float]) -> None:
    scores = torch.tensor([1.0, 3.0], requires_grad=True)
    loss = qamro_loss(scores, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_qamro_is_zero_once_every_pair_keeps_its_margin() -> None:
    labels = torch.tensor([1.0, 2.0, 4.0])
    assert qamro_loss(labels * 0.21, labels).item() == 0
    assert qamro_loss(labels * 0.19, labels).item() > 0
