"""The networks of DNSMOS as torch runs them."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from urgentmos.audio import SAMPLE_RATE
from urgentmos.labels import dnsmos as dnsmos_tool
from urgentmos.ndarray import NDArray


def slaney_filters() -> Float32[NDArray[np.float32], "bins mels"]:
    """Give the filters of the P.808 network: those of ``librosa.filters.mel``."""
    # Linear up to 1 kHz (15 mel), then 27 mel to a factor of 6.4; each filter of unit area.
    linear, step = 200 / 3, np.log(6.4) / 27
    highest = 15 + np.log(SAMPLE_RATE / 2 / 1000) / step
    mels = np.linspace(0, highest, dnsmos_tool._NUM_MELS + 2)
    edges = np.where(mels < 15, linear * mels, 1000 * np.exp(step * (mels - 15)))
    frequencies = np.fft.rfftfreq(dnsmos_tool._FFT_SAMPLES, 1 / SAMPLE_RATE)[:, None]
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return np.asarray(filters, dtype=np.float32)


# Operators before the first layer, and those that move axes between the layers.
_NOT_LAYERS = frozenset(
    (
        "Slice",
        "Reshape",
        "Concat",
        "Transpose",
        "Unsqueeze",
        "Mul",
        "Sqrt",
        "Pow",
        "Max",
        "Log",
        "Div",
    )
)


def read_network(path: Path) -> tuple[nn.Sequential, dict[str, NDArray[np.float32]]]:
    """Read the layers of a network of one path, and its constants by name.

    Raises:
        ValueError: It has other operators than DNSMOS's networks.
    """
    import onnx  # of no extra: nothing else here needs it

    graph = onnx.load(path).graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    layers: list[nn.Module] = []
    for node in graph.node:
        arrays = [constants[name] for name in node.input if name in constants]
        if node.op_type == "Conv" and arrays[0].ndim == 4:
            layers.append(_convolution(*arrays))
        elif node.op_type == "Relu":
            layers.append(nn.ReLU(inplace=True))
        elif node.op_type == "MaxPool":
            layers.append(nn.MaxPool2d(2))
        elif node.op_type == "ReduceMax":
            layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten()]
        elif node.op_type == "MatMul":
            matrix = arrays[0]
        elif node.op_type == "Add" and arrays:
            layers.append(_linear(matrix, arrays[0]))
        elif node.op_type not in _NOT_LAYERS | {"Conv", "Add"}:
            raise ValueError(f"{path}: unknown operator {node.op_type}; expected DNSMOS's network")
    return nn.Sequential(*layers).eval().requires_grad_(False), constants


def _convolution(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> nn.Conv2d:
    outputs, inputs, height, width = weight.shape
    layer = nn.Conv2d(inputs, outputs, (height, width), padding=1)
    layer.load_state_dict({"weight": _tensor(weight), "bias": _tensor(bias)})
    return layer


def _linear(matrix: NDArray[np.float32], bias: NDArray[np.float32]) -> nn.Linear:
    layer = nn.Linear(*matrix.shape)
    layer.load_state_dict({"weight": _tensor(matrix.T), "bias": _tensor(bias)})
    return layer


def _tensor(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(array.copy())
