"""The options that say which model to use and how, and loading it."""

from typing import TYPE_CHECKING, Annotated

import typer

from urgentmos.precision import Precision

if TYPE_CHECKING:
    from urgentmos.model.assessor import Assessor

ModelOption = Annotated[
    str, typer.Option(help="A shipped model's name, a folder, or a Hub id owner/name.")
]
DeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 …; a GPU if there is one otherwise.")
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="bfloat16: faster where the hardware has it; moves scores by about 2 % at most."
    ),
]
DecodersOption = Annotated[int, typer.Option(min=0, help="Threads that decode ahead of the model.")]


def load_assessor(model: str, device: str | None, precision: Precision = "float32") -> "Assessor":
    """Load a model onto a device.

    Args:
        model: Name, folder or Hub id.
        device: As PyTorch names it; a GPU where there is one when None.
        precision: What matrix products and convolutions are computed in.

    Raises:
        BadParameter: There is no such device here.
        CheckpointError: The model cannot be loaded.
    """
    import torch

    from urgentmos.model.checkpoint import load_model
    from urgentmos.model.device import DeviceError

    if device is None:
        device = "cuda" if torch.cuda.device_count() else "cpu"
    if device.partition(":")[0] == "meta":
        raise typer.BadParameter("no device 'meta' here: its tensors hold no numbers to score")
    try:
        return load_model(model, device=device, precision=precision)
    except DeviceError as error:
        raise typer.BadParameter(str(error)) from error


def split_metrics(metrics: str | None) -> list[str] | None:
    """Split a comma-separated list; None stays None."""
    return None if metrics is None else [name.strip() for name in metrics.split(",")]
