import pytest
import torch
from torch import nn

from urgentmos.masks import lengths_to_mask
from urgentmos.metrics import METRICS, Metric
from urgentmos.model.heads import MetricHead, PreferenceHead, RangeConstraint


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_no_prediction_leaves_the_range_of_its_metric(metric: Metric) -> None:
    x = torch.tensor([-1e6, -50.0, -1.0, 0.0, 1.0, 50.0, 1e6])
    score = RangeConstraint(metric.low, metric.high)(x)
    assert bool(torch.isfinite(score).all())
    assert bool((score.diff() >= 0).all())
    if metric.low is not None:
        assert bool((score >= metric.low).all())
    if metric.high is not None:
        assert bool((score <= metric.high).all())


def test_range_constraints_follow_the_equations() -> None:
    x = torch.tensor([0.7])
    softplus = nn.functional.softplus
    torch.testing.assert_close(RangeConstraint(1.0, 5.0)(x), 1 + 4 * torch.sigmoid(x))
    torch.testing.assert_close(RangeConstraint(0.5, None)(x), 0.5 + softplus(x - 0.5))
    torch.testing.assert_close(RangeConstraint(None, 1.0)(x), 1 - softplus(1 - x))
    torch.testing.assert_close(RangeConstraint(None, None)(x), x)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((1.0, 5.0), [1.0, 2.0, 5.0]),
        ((0.0, None), [0.0, 2.0, 7.0]),
        ((None, 1.0), [-3.0, 1.0, 1.0]),
        ((None, None), [-3.0, 2.0, 7.0]),
    ],
)
def test_what_something_was_added_to_is_brought_back_inside(
    bounds: tuple[float | None, float | None], expected: list[float]
) -> None:
    assert RangeConstraint(*bounds).clamp(torch.tensor([-3.0, 2.0, 7.0])).tolist() == expected


@pytest.mark.parametrize("bounds", [(1.0, 5.0), (0.0, None), (None, 1.0), (None, None)])
def test_gradient_flows_through_every_constraint(
    bounds: tuple[float | None, float | None],
) -> None:
    x = torch.tensor([-2.0, 0.3, 4.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(RangeConstraint(*bounds), (x,))


def test_a_head_is_one_linear_output() -> None:
    head = MetricHead(4, low=None, high=None)
    pooled = torch.randn(3, 4)
    torch.testing.assert_close(head(pooled), head.linear(pooled)[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_computed_in_32_bits_within_autocast_too(dtype: torch.dtype) -> None:
    head = MetricHead(64, low=1.0, high=5.0)
    pooled = torch.randn(3, 64).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        scores = head(pooled)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, head(pooled.float()))


def test_a_head_in_16_bits_computes_in_32() -> None:
    head = MetricHead(64, low=None, high=None).bfloat16()
    pooled = torch.randn(3, 64).bfloat16()
    scores = head(pooled)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, head.float()(pooled.float()))


def preference_head(features: str) -> PreferenceHead:
    torch.manual_seed(0)
    return PreferenceHead(8, heads=2, features=features).eval()


@pytest.mark.parametrize("features", ["attended", "difference"])
def test_padding_of_neither_recording_counts(features: str) -> None:
    head = preference_head(features)
    a, b = torch.randn(1, 5, 8), torch.randn(1, 3, 8)
    full = torch.ones(1, 5, dtype=torch.bool)
    alone = head(a, full, b, full[:, :3])
    noise = torch.full((1, 4, 8), 1e3)
    padded = head(
        torch.cat([a, noise], dim=1),
        lengths_to_mask(torch.tensor([5]), 9),
        torch.cat([b, noise], dim=1),
        lengths_to_mask(torch.tensor([3]), 7),
    )
    torch.testing.assert_close(padded.cmos, alone.cmos, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(padded.logits, alone.logits, atol=1e-5, rtol=1e-5)


def test_attended_features_equal_plain_multi_head_attention() -> None:
    head = preference_head("attended")
    a, b = torch.randn(1, 5, 8), torch.randn(1, 3, 8)
    found, _ = head.cross_attn(a, b, b)
    full = torch.ones(1, 5, dtype=torch.bool)
    torch.testing.assert_close(
        head(a, full, b, full[:, :3]).logits, head.classification_head(found.mean(dim=1))
    )


def test_difference_features_can_tell_a_from_b_linearly() -> None:
    head = preference_head("difference")
    with torch.no_grad():
        # Attention that finds the mean of B as it is.
        head.cross_attn.in_proj_weight.zero_()
        head.cross_attn.in_proj_weight[16:] = torch.eye(8)
        head.cross_attn.in_proj_bias.zero_()
        head.cross_attn.out_proj.weight.copy_(torch.eye(8))
        head.cross_attn.out_proj.bias.zero_()
    a, b = torch.randn(1, 5, 8), torch.randn(1, 3, 8)
    full = torch.ones(1, 5, dtype=torch.bool)
    expected = head.regression_head(a.mean(dim=1) - b.mean(dim=1))[:, 0]
    torch.testing.assert_close(head(a, full, b, full[:, :3]).cmos, expected)
