"""PyTorch checkpoints read as data: tensors and plain containers, and nothing that can run.

``torch.save`` writes a zip archive with one pickle, which names objects to build, and one file of
raw bytes per storage. A pickle can name any function of any module; this reader knows the handful
that describe tensors and refuses every other name before anything is called. Unlike
``torch.load(weights_only=True)`` it leaves tensors on disk until they are asked for, and its list
of names does not depend on the version of PyTorch.
"""

import contextlib
import pickle  # noqa: TID251 - only its opcodes; every name is looked up in _ADMITTED
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_STORAGE_DTYPES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
# Values of a tensor that repeats those of a smaller storage, as torch's ``expand`` makes it.
_MOST_EXPANDED = 1 << 20
# Tensors can share a storage, as tied weights do. More than this many times the file, and these
# bytes, they do not fill together.
_MOST_SHARED, _MORE_BYTES = 16, 64 << 20
# What torch can count and stride over.
_MOST_AXES, _LARGEST = 64, (1 << 63) - 1
_NUMBERING = ("PUT", "BINPUT", "LONG_BINPUT")
# What a damaged archive or pickle raises.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


class RestrictedPickleError(ValueError):
    """A file that is not a checkpoint, or holds something other than tensors and containers."""


class _Final:
    """What a pickle's BUILD, which gives an object other attributes, leaves as it was checked."""

    def __setstate__(self, _: object) -> None:
        raise RestrictedPickleError("a tensor is not described as torch.save describes it")


class _Names(OrderedDict[Any, Any]):
    """An OrderedDict without attributes: torch gives state dictionaries one that nobody needs."""

    def __setstate__(self, _: object) -> None:
        """Leave the methods as they are, which an attribute could stand before."""


@dataclass(frozen=True)
class _Function(_Final):
    """A function that a pickle can call, but not give other attributes, such as defaults."""

    call: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)


@dataclass(frozen=True)
class _Storage(_Final):
    archive: Path
    entry: str
    dtype: torch.dtype
    size: int


@dataclass(frozen=True)
class StoredTensor(_Final):
    """A tensor that is still on disk.

    Attributes:
        storage: The bytes it is a view of.
        offset: First element in the storage.
        shape: Its shape.
        stride: Elements between neighbours along each axis.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def load(self) -> Tensor:
        """Read the tensor.

        Raises:
            RestrictedPickleError: The archive lacks its bytes, or they are damaged, or torch has no
                such shape.
        """
        path = self.storage.archive
        with _telling_damage(path), zipfile.ZipFile(path) as archive:
            return self.load_from(archive)

    def load_from(self, archive: zipfile.ZipFile) -> Tensor:
        """Read the tensor from its archive, where that is open already; damage raises as it may."""
        storage = self.storage
        data = _read(archive, storage.entry)
        if len(data) != storage.size * storage.dtype.itemsize:
            raise RestrictedPickleError(
                f"{storage.archive}: {storage.entry} has {len(data)} bytes, "
                f"expected {storage.size} values of {storage.dtype}"
            )
        if prod(self.shape) == 0:
            return torch.empty(self.shape, dtype=storage.dtype)
        flat = torch.frombuffer(bytearray(data), dtype=storage.dtype)
        return flat.as_strided(self.shape, self.stride, self.offset).clone()


def read_checkpoint(path: str | Path) -> Any:
    """Read what ``torch.save`` wrote; tensors stay on disk as ``StoredTensor`` until loaded.

    Raises:
        RestrictedPickleError: It is no such file, or names anything but tensors and containers.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}")
    with _telling_damage(path):
        if not zipfile.is_zipfile(path):
            raise RestrictedPickleError(
                f"{path} is not a zip archive as torch.save writes them since PyTorch 1.6; "
                "if it is an older checkpoint that you trust, save it again with a newer PyTorch"
            )
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path)


@contextlib.contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except RestrictedPickleError:
        raise
    except _DAMAGE as error:
        raise RestrictedPickleError(
            f"{path} is damaged or no checkpoint: {type(error).__name__}: {error}"
        ) from error


def load_tensors(state: Mapping[Any, Any], *, where: str) -> dict[str, Tensor]:
    """Load every tensor of a state dictionary.

    Args:
        state: Names and stored tensors.
        where: What this is, for the error message.

    Raises:
        RestrictedPickleError: A name is no text, a value is not a tensor, or together they fill far
            more memory than their file.
    """
    for name, value in state.items():
        if not isinstance(name, str):
            raise RestrictedPickleError(
                f"{where}: expected names of tensors, got {type(name).__name__}"
            )
        if not isinstance(value, StoredTensor):
            raise RestrictedPickleError(
                f"{where}: expected a tensor for {name!r}, got {type(value).__name__}"
            )
    _check_total(list(state.values()), where)
    tensors: dict[str, Tensor] = {}
    # Opened once: to open an archive is to read the list of all that is in it.
    with contextlib.ExitStack() as stack:
        archives: dict[Path, zipfile.ZipFile] = {}
        for name, value in state.items():
            path = value.storage.archive
            with _telling_damage(path):
                if path not in archives:
                    archives[path] = stack.enter_context(zipfile.ZipFile(path))
                tensors[name] = value.load_from(archives[path])
    return tensors


def _check_total(tensors: list[StoredTensor], where: str) -> None:
    total = sum(prod(each.shape) * each.storage.dtype.itemsize for each in tensors)
    stored = sum(path.stat().st_size for path in {each.storage.archive for each in tensors})
    if total > _MOST_SHARED * stored + _MORE_BYTES:
        raise RestrictedPickleError(
            f"{where}: {len(tensors)} tensors would take {total} bytes of memory, and their file "
            f"has {stored}"
        )


def _read_archive(archive: zipfile.ZipFile, path: Path) -> Any:
    pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise RestrictedPickleError(f"{path} holds {len(pickles)} files data.pkl, expected one")
    root = pickles[0][: -len("data.pkl")]
    order = f"{root}byteorder"
    if order in archive.namelist() and _read(archive, order) != b"little":
        raise RestrictedPickleError(f"{path} was written on a big-endian machine")
    data = _read(archive, pickles[0])
    _check_opcodes(data, path)
    return _Reader(BytesIO(data), archive_path=path, root=root).load()


def _check_opcodes(data: bytes, path: Path) -> None:
    """Refuse a number or size that unpickling would take memory for before it fails."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        # Objects are numbered as they come. For a higher number there is a table up to it.
        number = argument if opcode.name in _NUMBERING else 0
        if not 0 <= int(number or 0) <= count:
            raise RestrictedPickleError(f"{path} numbers {count} objects or fewer as {number}")


def _read(archive: zipfile.ZipFile, entry: str) -> bytes:
    # torch.save never compresses; a compressed entry could be small on disk and huge in memory.
    if archive.getinfo(entry).compress_type != zipfile.ZIP_STORED:
        raise RestrictedPickleError(f"{archive.filename}: {entry} is compressed")
    return archive.read(entry)


class _Reader(pickle.Unpickler):
    def __init__(self, stream: Any, *, archive_path: Path, root: str) -> None:
        super().__init__(stream)
        self._path = archive_path
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        raise RestrictedPickleError(
            f"{self._path} asks for {module}.{name}, which is neither a tensor nor a plain "
            "container; nothing was run"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size = pid
        known = kind == "storage" and isinstance(dtype, torch.dtype)
        if not (known and isinstance(key, str) and key.isalnum() and _is_count(size)):
            raise RestrictedPickleError(f"{self._path} has an unknown kind of storage")
        return _Storage(self._path, f"{self._root}data/{key}", dtype, size)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    shape, stride = tuple(shape), tuple(stride)
    if (
        not isinstance(storage, _Storage)
        or not len(shape) == len(stride) <= _MOST_AXES
        or not all(map(_is_count, (offset, *shape, *stride)))
    ):
        raise RestrictedPickleError("a tensor is not described as torch.save describes it")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    # With steps of 0 a few values could be a tensor that fills the memory.
    if prod(shape) > max(storage.size, _MOST_EXPANDED):
        raise RestrictedPickleError(
            f"a tensor of shape {shape} is spread out over a storage of {storage.size} values"
        )
    if prod(shape) and last >= storage.size:
        raise RestrictedPickleError(
            f"a tensor of shape {shape} reaches beyond its storage of {storage.size} values"
        )
    return StoredTensor(storage, offset, shape, stride)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _parameter(data: Any, *_: Any) -> Any:
    return data


_ADMITTED: dict[tuple[str, str], Callable[..., Any] | torch.dtype] = {
    ("collections", "OrderedDict"): _Names,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_parameter"): _Function(_parameter),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
}
