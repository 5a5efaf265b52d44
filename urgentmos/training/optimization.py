"""AdamW, its learning rate as a function of the step, and the moving average of the weights."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from urgentmos.config import ConfigError
from urgentmos.training.config import OptimizerConfig
from urgentmos.training.sharding import divide_like, local_part

# Scales, shifts, biases and softmax layer weights have one axis; nothing else has.
_DECAYED_AXES = 2


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Make AdamW over the trainable parameters, with weight decay on matrices and kernels only.

    Raises:
        ConfigError: Nothing is trainable.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trainable:
        raise ConfigError("no parameter is trainable; unfreeze an encoder or add a head")
    groups = [
        {
            "params": [p for p in trainable if p.ndim >= _DECAYED_AXES],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in trainable if p.ndim < _DECAYED_AXES], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        fused=True,
    )


def learning_rate(step: int, *, config: OptimizerConfig, steps: int) -> float:
    """Give the learning rate of a step.

    Args:
        step: Steps already made.
        config: Highest rate, warm-up and schedule.
        steps: Steps of the whole run.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    factors = {
        "constant": 1.0,
        "linear": 1.0 - share,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * share)),
    }
    return config.lr * factors[config.schedule]


def set_learning_rate(
    optimizer: torch.optim.Optimizer, step: int, *, config: OptimizerConfig, steps: int
) -> None:
    """Give every weight of an optimizer the learning rate of a step."""
    rate = learning_rate(step, config=config, steps=steps)
    for group in optimizer.param_groups:
        group["lr"] = rate


class MovingAverage:
    """Exponential moving average of trainable weights.

    Early steps count more: the decay at step t is at most (1 + t) / (10 + t), or the average would
    hold the random start for thousands of steps.

    Args:
        parameters: Weights to follow.
        decay: Decay per step once the start is forgotten.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, decay: float) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self._decay = decay
        self.average = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights after a step; ``step`` counts those made."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averages = [local_part(average) for average in self.average]
        weights = [local_part(p.detach()) for p in self._parameters]
        torch._foreach_lerp_(averages, weights, 1.0 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights with their average; a second call undoes the first."""
        for parameter, average in zip(self._parameters, self.average, strict=True):
            weight, mean = local_part(parameter.detach()), local_part(average)
            kept = weight.clone()
            weight.copy_(mean)
            mean.copy_(kept)

    def load(self, average: Iterable[Tensor]) -> None:
        """Restore a saved average, given whole."""
        for mine, saved in zip(self.average, average, strict=True):
            mine.copy_(divide_like(saved, mine))
