"""Objectives: one function each, with its formula and source.

An item without a label adds nothing, to the loss or to the gradient. Means can be taken over the
global batch, of several processes or accumulated: each part then passes the count of labels in all
of them, and the sum of the parts' losses is the loss of the whole batch.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

MOS_WIDTH = 4.0
"""Errors of every metric are stated on the width of the MOS scale, so that dB and MOS compare."""


def _squared(error: Tensor) -> Tensor:
    return error.square()


def _absolute(error: Tensor) -> Tensor:
    return error.abs()


def _huber(error: Tensor) -> Tensor:
    return functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=1.0)


REGRESSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mse": _squared,
    "l1": _absolute,
    "huber": _huber,
}
"""Penalty of an error by name; Huber turns linear at 1 point on the MOS scale."""


def absolute_loss(
    scores: Float[Tensor, "batch metrics"],
    labels: Float[Tensor, "batch metrics"],
    *,
    scales: Float[Tensor, " metrics"],
    weights: Float[Tensor, " metrics"],
    regression: str = "mse",
    counts: Float[Tensor, " metrics"] | None = None,
) -> Float[Tensor, ""]:
    """Penalise scores that miss their labels: UrgentMOS, Eqs. 4 and 5, with metric weights.

    ``L_m = mean over labelled i of penalty(4 (score_im - label_im) / scale_m)``, then
    ``L = sum_m w_m L_m / sum_m w_m`` over the metrics with a label. With the scale of a MOS (4) and
    equal weights this is the paper's.

    Args:
        scores: In each metric's unit.
        labels: NaN where there is no label.
        scales: Width of each metric (`urgentmos.metrics.Metric.scale`).
        weights: Weight of each metric.
        regression: Key of `REGRESSIONS`.
        counts: Labels of each metric in the global batch; those of this batch when None.

    Returns:
        The loss; 0 when nothing is labelled.
    """
    valid = ~labels.isnan()
    if counts is None:
        counts = valid.sum(dim=0).to(scores.dtype)
    # An unlabelled item is compared with its own score: no error, and a gradient of exactly 0.
    targets = torch.where(valid, labels, scores.detach())
    penalty = REGRESSIONS[regression]((scores - targets) * (MOS_WIDTH / scales))
    by_metric = penalty.sum(dim=0) / counts.clamp_min(1.0)
    present = weights * (counts > 0)
    return (present * by_metric).sum() / present.sum().clamp_min(torch.finfo(scores.dtype).tiny)


def preference_loss(
    cmos: Float[Tensor, " pairs"],
    logits: Float[Tensor, "pairs 3"],
    *,
    target_cmos: Float[Tensor, " pairs"],
    target_preference: Int[Tensor, " pairs"],
    count: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Teach comparisons: ``0.5 MSE(CMOS) + 0.5 CE(A better, tie, B better)`` (UrgentMOS, 3.2).

    A pair is mirrored by passing it twice, then with CMOS and preference negated (3.2.3).

    Args:
        cmos: Predicted comparison scores.
        logits: Of A better, tie, B better.
        target_cmos: Positive where A is better; NaN where nothing is known.
        target_preference: +1, 0, -1.
        count: Known pairs in the global batch; those given when None.

    Returns:
        The mean over known pairs; 0 when there is none.
    """
    known = ~target_cmos.isnan()
    if count is None:
        count = known.sum().to(cmos.dtype)
    error = cmos - torch.where(known, target_cmos, cmos.detach())
    entropy = functional.cross_entropy(logits, 1 - target_preference, reduction="none")
    return (0.5 * error.square() + 0.5 * entropy * known).sum() / count.clamp_min(1.0)


def bradley_terry_loss(
    difference: Float[Tensor, " pairs"],
    *,
    direction: Float[Tensor, " pairs"],
    weights: Float[Tensor, " pairs"] | None = None,
    count: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Rank by score: ``-log sigmoid(score of the better - score of the worse)`` (MOS-RMBench).

    Args:
        difference: Score of A minus score of B.
        direction: +1 A is better, -1 B is better, 0 or NaN not used.
        weights: Weight of each pair, as from `mos_difference_weight`; 1 when None.
        count: Pairs used in the global batch; those given when None.

    Returns:
        The mean over the pairs used; 0 when there is none.
    """
    direction = direction.nan_to_num(0.0)
    used = direction != 0
    if count is None:
        count = used.sum().to(difference.dtype)
    surprise = functional.softplus(-direction * difference) * used
    if weights is not None:
        surprise = surprise * weights
    return surprise.sum() / count.clamp_min(1.0)


def mos_difference_weight(
    gap: Float[Tensor, " pairs"], *, widest: float
) -> Float[Tensor, " pairs"]:
    """Weigh a pair by what getting it wrong costs in MOS-RMBench's MOS-aware reward.

    The reward of a wrong verdict is ``-1 + 0.5 (-1 + cos(pi g))`` with g the MOS gap divided by
    ``widest`` and clamped to [0, 1]; the weight is its size, from 1 (no gap) to 2 (``widest`` and
    beyond). The reward of a right verdict differs from it by 3 for every gap, so as a reward the
    gap matters only with a baseline; as a weight on a loss it does.

    Args:
        gap: |MOS difference|; an unknown gap (NaN) weighs 1.
        widest: Gap that weighs most; the paper takes the 90th percentile of the gaps.
    """
    share = (gap.nan_to_num(0.0) / widest).clamp(0.0, 1.0)
    return 1.0 + 0.5 * (1.0 - torch.cos(math.pi * share))


def qamro_loss(
    scores: Float[Tensor, " batch"],
    labels: Float[Tensor, " batch"],
    *,
    alpha: float = 0.2,
    beta: float = 7.0,
) -> Float[Tensor, ""]:
    """Rank all recordings of a batch, the good ones above all (QAMRO).

    Over all i < j with different labels, the mean of
    ``w relu(alpha |y_i - y_j| - sign(y_i - y_j) (p_i - p_j))`` with
    ``w = 1 + (beta - 1) max(q_i, q_j)`` and q the label, min-max normalised over the batch.
    Source: github.com/JethroWangSir/QAMRO, whose alpha and beta these are.

    Args:
        scores: Predictions p.
        labels: Labels y; NaN where there is none.
        alpha: Margin per point of label difference.
        beta: Weight of a pair that holds the best recording; the worst pair weighs 1.

    Returns:
        The loss; 0 when no two labels differ.
    """
    valid = ~labels.isnan()
    gap = labels[:, None] - labels[None, :]
    used = torch.triu(valid[:, None] & valid[None, :] & (gap != 0), diagonal=1)
    gap = torch.where(used, gap, 0.0)
    low = torch.where(valid, labels, torch.inf).amin()
    high = torch.where(valid, labels, -torch.inf).amax()
    quality = torch.where(valid, (labels - low) / (high - low), 0.0)
    weight = 1.0 + (beta - 1.0) * torch.maximum(quality[:, None], quality[None, :])
    margin = functional.relu(alpha * gap.abs() - gap.sign() * (scores[:, None] - scores[None, :]))
    total = torch.where(used, weight * margin, 0.0).sum()
    return total / used.sum().clamp_min(1)
