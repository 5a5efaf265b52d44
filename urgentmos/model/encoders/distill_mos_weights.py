"""The weights of Distill-MOS, from the installed package ``distillmos`` (MIT)."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from urgentmos.extras import MissingExtraError
from urgentmos.model.restricted_pickle import load_tensors, read_checkpoint

_WEIGHTS = "weights/distill_mos_v7.pt"


def find_package_weights() -> Path:
    """Find the package's file of weights, without importing the package.

    Raises:
        MissingExtraError: ``distillmos`` is not installed.
    """
    # Importing the package would import torchaudio, which fails next to many builds of torch.
    spec = importlib.util.find_spec("distillmos")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the weights of Distill-MOS come with the package distillmos, which is not installed; "
            "install it with: pip install 'urgentmos[accurate]'"
        )
    return Path(spec.origin).parent / _WEIGHTS


def load_package_weights() -> dict[str, Tensor]:
    """Read all weights of Distill-MOS from the installed package, by the names they have there.

    Raises:
        MissingExtraError: ``distillmos`` is not installed.
    """
    path = find_package_weights()
    return load_tensors(read_checkpoint(path)["model"], where=str(path))


def trunk_weights(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the trunk's weights by our names.

    The package has two batch norms and a linear layer between its convolutions and its Transformer.
    Their running statistics are constants, so all three are one linear layer, ``projection``.

    Args:
        stored: All weights, by the package's names.
    """
    trunk = "transformer_pool_attn.transformer."
    layers = f"{trunk}transformer_encoder.layers."
    state = {
        name.replace("cnn.cnn.", "convolutions."): tensor
        for name, tensor in stored.items()
        if name.startswith("cnn.cnn.")
    }
    state |= {
        name.replace(layers, "layers."): tensor
        for name, tensor in stored.items()
        if name.startswith(layers)
    }
    state["positions"] = stored[f"{trunk}position_encoding.pe"][0]
    weight = stored[f"{trunk}linear_proj.weight"].double()
    bias = stored[f"{trunk}linear_proj.bias"].double()
    for norm in (f"{trunk}norm.", "transformer_pool_attn.norm_input."):
        scale, shift = _batch_norm(stored, norm)
        weight, bias = weight * scale, bias + weight @ shift
    state["projection.weight"], state["projection.bias"] = weight.float(), bias.float()
    return state


def _batch_norm(stored: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    scale = (
        stored[f"{name}weight"].double()
        / (stored[f"{name}running_var"].double() + nn.BatchNorm1d(1).eps).sqrt()
    )
    return scale, stored[f"{name}bias"].double() - stored[f"{name}running_mean"].double() * scale
