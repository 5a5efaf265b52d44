"""What a saved model keeps of an s3prl upstream: its checkpoint without the weights.

s3prl builds an upstream from its checkpoint alone, some of whose strings it evaluates as Python.
So the rest of the checkpoint is noted beside the saved weights, and a checkpoint with weights of
zero is made of it where the model is loaded; strings that would do anything are refused first.
"""

import ast
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

Family = Literal["data2vec", "hubert", "unispeech_sat", "wav2vec2", "wavlm"]
FAMILIES: tuple[str, ...] = get_args(Family)
"""Folders of s3prl whose upstreams read one checkpoint, and neither code nor any other file."""

COMPUTED = ("baseline", "spectrogram", "fbank", "fbank_no_cmvn", "mfcc", "mel", "linear")
"""Upstreams without weights, defined by files of the s3prl package."""

_SHAPE = "tensor of shape"
# s3prl's settings are numbers in lists and tuples, joined and repeated: `[(512, 3, 2)] * 4`.
_HARMLESS = (
    ast.Expression,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Dict,
    ast.Name,
    ast.Attribute,
    ast.Load,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.UnaryOp,
    ast.unaryop,
)
# How often a string may repeat what it states: those of s3prl's models do so eight times.
_MOST_REPEATS = 100
# What building modules from settings of the wrong kind or size raises.
_BUILD_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    SyntaxError,
    TypeError,
)


@dataclass
class S3prlStructure:
    """An upstream without its weights.

    Attributes:
        family: The upstream's folder in s3prl.
        checkpoint: Its checkpoint, a shape in place of each tensor.
        differentiable: Whether gradient reached the waveform.
    """

    family: Family
    checkpoint: dict[str, Any]
    differentiable: bool

    def __post_init__(self) -> None:
        """Refuse strings that would do something, or become large, when evaluated."""
        refuse_code(self.checkpoint)


@contextmanager
def noting_checkpoints() -> Iterator[list[Any]]:
    """Note what ``torch.load`` reads within, with a shape in place of each tensor.

    Within it, checkpoints may hold tensors and plain values only, whatever the caller asks for.

    Yields:
        The notes, filled as checkpoints are read; None for one that JSON cannot hold.
    """
    notes: list[Any] = []
    # s3prl asks for it by this name. A checkpoint is read as tensors only.
    where: Any = torch
    load = where.load

    def read(*args: Any, **kwargs: Any) -> Any:
        loaded = load(*args, **{**kwargs, "weights_only": True})
        refuse_code(loaded)
        try:
            notes.append(_describe(loaded))
        except ValueError:
            notes.append(None)
        return loaded

    where.load = read
    try:
        yield notes
    finally:
        where.load = load


def build_upstream(upstream_class: Any, structure: S3prlStructure) -> Any:
    """Make an upstream with weights of zero.

    Args:
        upstream_class: ``s3prl.nn.S3PRLUpstream``.
        structure: What a saved model noted.

    Raises:
        ValueError: s3prl cannot make one of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        try:
            torch.save(_restore(structure.checkpoint), path)
            return upstream_class(f"{structure.family}_local", path_or_url=str(path))
        except _BUILD_ERRORS as error:
            raise ValueError(
                f"structure: s3prl cannot make a {structure.family} upstream of it: {error!r}"
            ) from error


def refuse_code(value: Any) -> None:
    """Look through a checkpoint for strings that must not be evaluated as Python.

    They are those that would do something, or become far longer than they are.

    Raises:
        ValueError: There is one.
    """
    if isinstance(value, Mapping):
        for each in value.values():
            refuse_code(each)
    elif isinstance(value, list | tuple):
        for each in value:
            refuse_code(each)
    elif isinstance(value, str) and not _is_harmless(value):
        raise ValueError(
            "expected no code among the settings of an s3prl checkpoint, and nothing repeated more "
            f"than {_MOST_REPEATS} times, got {value[:100]!r}"
        )


def _is_harmless(text: str) -> bool:
    try:
        parsed = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        return True
    except (MemoryError, RecursionError, ValueError):
        return False
    nodes = list(ast.walk(parsed))
    if not all(isinstance(node, _HARMLESS) for node in nodes):
        return False
    products = [node for node in nodes if isinstance(node, ast.BinOp)]
    repeats = [_repeats(node) for node in products if isinstance(node.op, ast.Mult)]
    return math.prod(repeats) <= _MOST_REPEATS


def _repeats(product: ast.BinOp) -> float:
    """How often a product can repeat one of its sides: too often where neither is a number."""
    sides = [side.value for side in (product.left, product.right) if isinstance(side, ast.Constant)]
    numbers = [side for side in sides if isinstance(side, int | float)]
    return float(max(1, min([*numbers, _MOST_REPEATS + 1])))


def _describe(value: Any) -> Any:
    if isinstance(value, Tensor):
        return {_SHAPE: list(value.shape)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _describe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_describe(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"expected tensors and plain values, got {type(value).__name__}")


def _restore(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_SHAPE}:
            # One zero in memory and in the file, whatever the shape.
            return torch.zeros(()).expand(value[_SHAPE])
        return {key: _restore(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_restore(each) for each in value]
    return value
