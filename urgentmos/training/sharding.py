"""Processes that divide the weights among them instead of each holding all (FSDP).

Gradients and the optimizer's moments are divided with the weights. Each layer's weights come
together while it runs.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, distribute_tensor

from urgentmos.extras import MissingExtraError
from urgentmos.model.encoders.pretrained import PretrainedEncoder
from urgentmos.model.groups import GroupEncoder
from urgentmos.model.network import AssessorNetwork
from urgentmos.training.objective import Objective

try:
    from torch.distributed.fsdp import fully_shard
except ImportError as error:
    raise MissingExtraError(
        f"training needs PyTorch 2.6 or later, and this is {torch.__version__}; "
        "install it with: pip install 'urgentmos[train]'"
    ) from error


def divide(objective: Objective, *, device: torch.device, num_processes: int) -> None:
    """Divide every weight among the processes, in place."""
    for parameter in objective.parameters():
        # Kernels that lie channels last cannot be divided.
        parameter.data = parameter.data.contiguous()
    mesh = init_device_mesh(device.type, (num_processes,))
    for block in [*_blocks(objective.network), objective]:
        divided = fully_shard(block, mesh=mesh)
        if device.type == "cpu":
            # Gloo adds but does not average.
            divided.set_force_sum_reduction_for_comms(True)


def _blocks(network: AssessorNetwork) -> Iterator[nn.Module]:
    for encoder in network.encoders:
        if isinstance(encoder, PretrainedEncoder):
            yield from encoder.layers
    for group in network.groups.values():
        if isinstance(group, GroupEncoder):
            yield from group.encoder.layers


@torch.no_grad()
def copy_whole(divided: nn.Module, whole: nn.Module) -> None:
    """Copy divided weights and buffers into a module that holds all; every process calls it."""
    source = dict(divided.named_parameters()) | dict(divided.named_buffers())
    for name, tensor in (*whole.named_parameters(), *whole.named_buffers()):
        tensor.copy_(gather(source[name]))


def local_part(tensor: Tensor) -> Tensor:
    """This process's part of a divided tensor, in the same memory; any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gather(tensor: Tensor) -> Tensor:
    """The whole of a divided tensor, in every process; any other tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divide_like(whole: Tensor, other: Tensor) -> Tensor:
    """Divide a tensor as another one is; every process gives the whole."""
    if not isinstance(other, DTensor):
        return whole
    return distribute_tensor(whole.to(other.device), other.device_mesh, other.placements)
