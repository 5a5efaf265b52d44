import pytest
import torch
from torch import nn

from urgentmos.training.config import OptimizerConfig
from urgentmos.training.optimization import MovingAverage, build_optimizer, learning_rate


def rates(steps: int = 10, **options: object) -> list[float]:
    config = OptimizerConfig(lr=1.0, **options)  # type: ignore[arg-type]
    return [learning_rate(step, config=config, steps=steps) for step in range(steps + 1)]


def test_a_constant_rate_stays() -> None:
    assert rates(schedule="constant") == [1.0] * 11


def test_a_linear_rate_falls_to_zero() -> None:
    assert rates(schedule="linear") == pytest.approx([1 - step / 10 for step in range(11)])


def test_a_cosine_rate_is_half_at_half_time_and_zero_at_the_end() -> None:
    cosine = rates(schedule="cosine")
    assert (cosine[0], cosine[5], cosine[10]) == pytest.approx((1.0, 0.5, 0.0), abs=1e-12)


def test_a_warm_up_rises_from_the_first_step_and_hands_over_at_the_top() -> None:
    warm = rates(schedule="linear", warmup_steps=4)
    assert warm[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert warm[10] == 0


def test_weight_decay_spares_norms_biases_and_layer_weights() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv1d(4, 2, 3))
    module.register_parameter("weights", nn.Parameter(torch.zeros(5)))
    optimizer = build_optimizer(module, OptimizerConfig(weight_decay=0.01))
    decayed, spared = (group["params"] for group in optimizer.param_groups)
    assert [p.ndim for p in decayed] == [2, 3]
    assert len(spared) == 5
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


def test_frozen_parameters_are_not_optimized() -> None:
    module = nn.Sequential(nn.Linear(3, 4).requires_grad_(False), nn.Linear(4, 1))
    optimizer = build_optimizer(module, OptimizerConfig())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


def test_a_module_without_trainable_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter is trainable"):
        build_optimizer(nn.Linear(1, 1).requires_grad_(False), OptimizerConfig())


def test_the_average_follows_its_formula_and_starts_fast() -> None:
    weight = nn.Parameter(torch.zeros(1))
    average = MovingAverage([weight], decay=0.5)
    expected = 0.0
    for step, value in enumerate([1.0, 3.0, -2.0], start=1):
        weight.data.fill_(value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.average[0].item() == pytest.approx(expected)


def test_swapping_twice_gives_the_weights_back() -> None:
    weight = nn.Parameter(torch.ones(2))
    average = MovingAverage([weight], decay=0.9)
    weight.data.fill_(5.0)
    average.swap()
    assert weight.tolist() == [1.0, 1.0]
    average.swap()
    assert weight.tolist() == [5.0, 5.0]
