"""Devices by name, and what is said of one that is not here."""

import torch


class DeviceError(ValueError):
    """There is no such device on this machine."""


def find_device(name: str | torch.device) -> torch.device:
    """Give a device that tensors can be made on.

    Args:
        name: As PyTorch names it: ``cpu``, ``cuda``, ``cuda:1`` …

    Raises:
        DeviceError: There is none of that name here.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"no such device {name!r}: cpu, cuda, cuda:1 …") from error
    shown = repr(str(device))
    num_gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= num_gpus:
        raise DeviceError(f"no device {shown}: PyTorch sees {num_gpus} GPUs here")
    try:
        torch.zeros(1, device=device)
    except (AssertionError, ImportError, NotImplementedError, RuntimeError) as error:
        # PyTorch goes on to list every backend that it knows.
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise DeviceError(f"no device {shown} here: {reason}") from error
    return device
