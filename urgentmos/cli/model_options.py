"""Loading the model that a command was told to use."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from urgentmos.model.assessor import Assessor


def load_assessor(model: str, device: str | None) -> "Assessor":
    """Load a model onto a device; a GPU where there is one when nothing is said."""
    import torch

    from urgentmos.model.checkpoint import load_model

    has_gpu = torch.cuda.is_available()
    if device is None:
        device = "cuda" if has_gpu else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise typer.BadParameter(f"no such device {device!r}: cpu, cuda, cuda:1 …") from error
    if kind == "cuda" and not has_gpu:
        raise typer.BadParameter("PyTorch sees no GPU here; use --device cpu")
    return load_model(model, device=device)


def split_metrics(metrics: str | None) -> list[str] | None:
    """Split a comma-separated list; None stays None."""
    return None if metrics is None else [name.strip() for name in metrics.split(",")]
