"""What a run would train, without its data and without making its weights."""

from dataclasses import replace

from torch import nn

from urgentmos.extras import require
from urgentmos.model.encoders import Encoder, without_weights
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.training.config import RunConfig

_MIB = 2**20
_BYTES = 4
# Weight, gradient and AdamW's two moments.
_COPIES_TRAINED = 4


def describe(config: RunConfig) -> str:
    """Describe a run: parameters per part, encoders, metrics per group, memory.

    The network's weights are on torch's ``meta`` device, where they take no memory.

    Returns:
        Text for a terminal.
    """
    with require("accelerate", extra="train").init_empty_weights():
        network = build_assessor(
            replace(
                config.model, encoders=[without_weights(each) for each in config.model.encoders]
            )
        )
    lines = [f"{'part':<36}{'trainable':>14}{'frozen':>14}"]
    for name, part in _parts(network):
        trained, frozen = _count(part)
        lines.append(f"{name:<36}{trained:>14,}{frozen:>14,}")
    lines += ["", *_encoder_lines(network, config), "", "metrics per group"]
    lines += [f"  {name}: {', '.join(g.metrics)}" for name, g in config.model.groups.items()]
    lines += ["", *_memory_lines(network, config)]
    return "\n".join(lines)


def _parts(network: AssessorNetwork) -> list[tuple[str, nn.Module]]:
    parts: list[tuple[str, nn.Module]] = [
        (f"encoder {index}", encoder) for index, encoder in enumerate(network.encoders)
    ]
    parts.append(("fusion", network.fusion))
    parts += [(f"group {name}", group) for name, group in network.groups.items()]
    parts.append(("heads", network.heads))
    if network.preference is not None:
        parts.append(("preference", network.preference))
    return [*parts, ("all", network)]


def _count(part: nn.Module) -> tuple[int, int]:
    parameters = list(part.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return trained, sum(p.numel() for p in parameters) - trained


def _encoder_lines(network: AssessorNetwork, config: RunConfig) -> list[str]:
    lines = ["encoders"]
    for encoder, stated in zip(network.encoders, config.model.encoders, strict=True):
        if not isinstance(encoder, Encoder):
            raise TypeError(f"expected an Encoder, got {type(encoder).__name__}")
        lines.append(
            f"  {stated.family}: {encoder.frame_rate:g} frames/s, width {encoder.dim}, "
            f"{encoder.num_layers} hidden states"
        )
    return lines


def _memory_lines(network: AssessorNetwork, config: RunConfig) -> list[str]:
    trained, frozen = _count(network)
    averaged = trained if config.optimizer.ema_decay else 0
    weights = _BYTES * (_COPIES_TRAINED * trained + averaged + frozen)
    frame_rate = max(float(encoder.frame_rate) for encoder in network.encoders)  # type: ignore[arg-type]
    frames = config.data.batch_seconds * frame_rate
    # Kept for the backward pass by one post-norm layer, in widths per frame: attention's input,
    # query, key, value, output and its projection, two norms' inputs and outputs, dropout masks.
    per_frame = sum(
        group.layers * (12 * config.model.fusion.dim + 2 * group.feedforward)
        for group in config.model.groups.values()
    )
    activations = _BYTES * frames * per_frame / (2 if config.precision == "bf16" else 1)
    return [
        f"memory: {weights / _MIB:,.0f} MiB for weights, gradients and AdamW; about "
        f"{activations / _MIB:,.0f} MiB for what the group encoders keep of "
        f"{config.data.batch_seconds:g} s of audio; the encoders' own comes on top"
    ]
