"""What a run would train and how much memory that takes, without its data or its weights."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from urgentmos.audio import SAMPLE_RATE
from urgentmos.extras import require
from urgentmos.model.encoders import Encoder, EncoderOutput, without_weights
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.training.config import RunConfig
from urgentmos.training.freeze import freeze

_MIB = 2**20
_BYTES = 4


def describe(config: RunConfig) -> str:
    """Describe a run: parameters per part, encoders, metrics per group, memory.

    Of a pretrained encoder only the configuration is read. Its weights are on torch's ``meta``
    device, where they take no memory, unless some of them are trained: see `estimate_memory`.

    Returns:
        Text for a terminal.
    """
    network = _build_without_weights(config)
    lines = [f"{'part':<36}{'trainable':>14}{'frozen':>14}"]
    for name, part in _parts(network):
        trained, frozen = _count(part)
        lines.append(f"{name:<36}{trained:>14,}{frozen:>14,}")
    lines += ["", *_encoder_lines(network, config), "", "metrics per group"]
    lines += [f"  {name}: {', '.join(g.metrics)}" for name, g in config.model.groups.items()]
    lines += ["", *_memory_lines(config)]
    return "\n".join(lines)


def estimate_memory(config: RunConfig) -> dict[str, int]:
    """Estimate what a step takes on one process, in bytes by purpose.

    What the backward pass needs is measured: one recording of ``data.max_seconds`` goes through the
    trained parts, filled with zeros, on the processor, and what autograd keeps is counted. Frozen
    encoders are not run; they keep nothing but their hidden states, for the layer mix.
    """
    network = _build_without_weights(config)
    trained, frozen = _count(network)
    recordings = config.data.batch_seconds / config.data.max_seconds
    # Before the measurement, which takes frozen encoders out.
    front_end = max(_front_end_values_per_second(each) for each in network.encoders)
    kept = recordings * _kept_per_recording(network, round(config.data.max_seconds * SAMPLE_RATE))
    share = 0.5 if config.precision == "bfloat16" else 1.0
    return {
        "weights": _BYTES * (trained + frozen),
        "gradients": _BYTES * trained,
        "AdamW": 2 * _BYTES * trained,
        "moving average": _BYTES * trained if config.optimizer.ema_decay else 0,
        "kept for the backward pass": round(share * kept),
        "first convolution, where frozen": round(
            share * _BYTES * config.data.batch_seconds * front_end
        ),
    }


def _build_without_weights(config: RunConfig) -> AssessorNetwork:
    encoders = [without_weights(each) for each in config.model.encoders]
    with require("accelerate", extra="train").init_empty_weights():
        network = build_assessor(replace(config.model, encoders=encoders))
    freeze(network, config.freeze)
    return network


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


def _memory_lines(config: RunConfig) -> list[str]:
    data, taken = config.data, estimate_memory(config)
    lines = [
        f"estimated memory per process, MiB, for {data.batch_seconds:g} s of audio in recordings "
        f"of {data.max_seconds:g} s"
    ]
    taken |= {"all": sum(taken.values())}
    lines += [f"  {name:<40}{size / _MIB:>10,.0f}" for name, size in taken.items() if size]
    return lines


def _front_end_values_per_second(encoder: nn.Module) -> float:
    """Count what the first convolution on a waveform makes: nothing else unkept is as large."""
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv1d)]
    if not convolutions or convolutions[0].in_channels != 1:
        return 0.0
    first = convolutions[0]
    if any(parameter.requires_grad for parameter in first.parameters()):
        return 0.0
    # Before and after the activation function.
    return 2 * first.out_channels * SAMPLE_RATE / first.stride[0]


class _HiddenStatesOnly(Encoder):
    """Stands in for a frozen encoder, whose hidden states are all that autograd can keep of it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.num_layers, self.dim = encoder.num_layers, encoder.dim
        self.frame_rate, self.min_samples = encoder.frame_rate, encoder.min_samples

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        frames = (lengths * self.frame_rate / SAMPLE_RATE).long().clamp_min(1)
        shape = (len(waveform), self.num_layers, int(frames.max()), self.dim)
        return EncoderOutput(torch.zeros(shape), frames)


def _kept_per_recording(network: AssessorNetwork, samples: int) -> int:
    """Measure the bytes that autograd keeps of one recording and of its comparison with another."""
    for index, encoder in enumerate(network.encoders):
        if isinstance(encoder, Encoder) and not _count(encoder)[0]:
            network.encoders[index] = _HiddenStatesOnly(encoder)
    _fill_with_zeros(network)
    # Without dropout: with it the processor's attention keeps matrices that a GPU's does not.
    network.eval()
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    size_by_storage: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            size_by_storage[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(count, lambda tensor: tensor):
        # The outputs hold the graph: a tensor that is let go would leave its address to another.
        outputs: list[Any] = [network(torch.zeros(1, samples), torch.tensor([samples]))]
        frames, mask = outputs[0].frames, outputs[0].mask
        if frames is not None:
            outputs.append(network.compare_frames(frames, mask, frames, mask))
    return sum(size_by_storage.values())


def _fill_with_zeros(network: nn.Module) -> None:
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            zeros = torch.zeros_like(parameter, device="cpu")
            setattr(module, name, nn.Parameter(zeros, requires_grad=parameter.requires_grad))
