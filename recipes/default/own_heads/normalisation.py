"""What makes training faster while it lasts: scaled inputs, batch norms, labels of one scale."""

import torch
from torch import Tensor, nn

from urgentmos.model.encoders.own_head import OwnHead
from urgentmos.model.heads import MetricHead

_EDGE = 1e-3  # of a metric's range, beyond which no head begins


class Scale(nn.Module):
    """Each channel times a number that is not learned."""

    def __init__(self, scale: Tensor) -> None:
        """Take the numbers, (channels,)."""
        super().__init__()
        self.register_buffer("scale", scale[:, None, None])

    def forward(self, features: Tensor) -> Tensor:
        """Scale (batch, channels, frames, bins)."""
        return features * self.scale


class Shift(nn.Module):
    """A number times one that is not learned, and another added."""

    def __init__(self, spread: float, centre: float) -> None:
        """Take both."""
        super().__init__()
        self.spread, self.centre = spread, centre

    def forward(self, numbers: Tensor) -> Tensor:
        """Scale and shift."""
        return self.spread * numbers + self.centre


def normalise(head: OwnHead, scale: Tensor, labels: Tensor) -> None:
    """Put what training is faster with into a head.

    Scaled inputs and batch norms into the convolutions; the labels' mean and spread behind the
    last layers.
    """
    for convolution in head.convolutions:
        conv = convolution.conv
        conv.reset_parameters()
        convolution.conv = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))
    head.convolutions[0].conv.insert(0, Scale(scale))
    for of_metric, column in zip(head.heads.values(), labels.T, strict=True):
        known = column[~column.isnan()]
        shift = Shift(*_before_constraint(of_metric, known))
        nn.init.zeros_(of_metric.linear.bias)
        of_metric.constraint = nn.Sequential(shift, of_metric.constraint)


def _before_constraint(head: MetricHead, labels: Tensor) -> tuple[float, float]:
    """Give spread and mean of labels before what keeps them in their range."""
    low, high, mean, spread = (
        head.constraint.low, head.constraint.high, labels.mean().item(), labels.std().item(),
    )  # fmt: skip
    if low is not None and high is not None:
        return 1.0, float(torch.logit(torch.tensor((mean - low) / (high - low)), eps=_EDGE))
    # Far from the one bound there is, which labels are on average, nothing is constrained.
    return spread, mean


def fold(head: OwnHead) -> None:
    """Make of `normalise`, after training, weights and biases."""
    for convolution in head.convolutions:
        *before, conv, norm = convolution.conv
        folded = nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm.eval())
        for scaled in before:
            folded.weight.data.mul_(scaled.scale[None])
        convolution.conv = folded
    for of_metric in head.heads.values():
        shift, of_metric.constraint = of_metric.constraint
        of_metric.linear.weight.data.mul_(shift.spread)
        of_metric.linear.bias.data.mul_(shift.spread).add_(shift.centre)
