import io
import os
import pickle  # noqa: TID251 - to write what must be refused
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from urgentmos.model.restricted_pickle import (
    RestrictedPickleError,
    StoredTensor,
    load_tensors,
    read_checkpoint,
)


def write_archive(path: Path, data: bytes, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for name, content in entries.items():
            archive.writestr(f"archive/{name}", content)
    return path


def test_what_a_trainer_saves_is_read(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "update": 7,
        "config": {"a": [1, 2.5, None, True, "text"], "b": {"c": (1, 2)}},
    }
    torch.save(saved, tmp_path / "model.pt")
    read = read_checkpoint(tmp_path / "model.pt")
    assert read["update"] == 7
    assert read["config"] == saved["config"]
    loaded = load_tensors(read["model"], where="model")
    assert list(loaded) == list(saved["model"])
    for name, tensor in loaded.items():
        torch.testing.assert_close(tensor, saved["model"][name], atol=0, rtol=0)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_views_keep_their_values_and_types(dtype, tmp_path):
    whole = torch.arange(24).reshape(4, 6).to(dtype)
    saved = {
        "view": whole[1:3, ::2],
        "transposed": whole.T,
        "scalar": whole[0, 1],
        "none": whole[:0],
    }
    torch.save(saved, tmp_path / "views.pt")
    for name, stored in read_checkpoint(tmp_path / "views.pt").items():
        torch.testing.assert_close(stored.load(), saved[name], atol=0, rtol=0)


def test_an_expanded_tensor_is_read(tmp_path):
    torch.save({"x": torch.full((1,), 3.0).expand(5)}, tmp_path / "model.pt")
    assert torch.equal(read_checkpoint(tmp_path / "model.pt")["x"].load(), torch.full((5,), 3.0))


def test_parameters_and_ordered_dictionaries_are_read(tmp_path):
    saved = OrderedDict(weight=nn.Parameter(torch.randn(2, 2)))
    torch.save(saved, tmp_path / "model.pt")
    loaded = load_tensors(read_checkpoint(tmp_path / "model.pt"), where="model")
    torch.testing.assert_close(loaded["weight"], saved["weight"].detach())


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    target = tmp_path / "was run"
    torch.save({"model": {}, "config": Command(target)}, tmp_path / "model.pt")
    with pytest.raises(
        RestrictedPickleError, match=r"asks for (posix|nt)\.system.*nothing was run"
    ):
        read_checkpoint(tmp_path / "model.pt")
    assert not target.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("forbidden", [eval, getattr, torch.save, torch.nn.Linear, type])
def test_any_other_name_is_refused(forbidden, protocol, tmp_path):
    path = write_archive(tmp_path / "model.pt", pickle.dumps(forbidden, protocol=protocol))
    with pytest.raises(RestrictedPickleError, match="neither a tensor nor a plain container"):
        read_checkpoint(path)


def tensor_pickle(offset: float, shape: tuple[float, ...], stride: tuple[int, ...]) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, each: Any) -> Any:
            if each == "the storage":
                return ("storage", torch.FloatStorage, "0", "cpu", 4)
            return None

        def reducer_override(self, each: Any) -> Any:
            if isinstance(each, Tensorlike):
                arguments = ("the storage", offset, shape, stride, False, OrderedDict())
                return torch._utils._rebuild_tensor_v2, arguments
            return NotImplemented

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump({"x": Tensorlike()})
    return stream.getvalue()


class Tensorlike:
    """Stands for a tensor that torch would never write."""


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (5,), (1,)), (3, (2,), (1,)), (0, (2, 2), (4, 1)), (-1, (2,), (1,)), (3, (2,), (-1,)),
        (0, (10**13,), (0,)), (0, (-2, -2), (1, 1)), (0, (1,) * 65, (1,) * 65),
        (0, (0, 10**30), (1, 1)), (0, (1,), (10**30,)), (0, (float("inf"),), (1,)),
        (float("nan"), (1,), (1,)), (0.5, (1,), (1,)), (0, (4,), ()),
    ],
)  # fmt: skip
def test_tensors_beyond_their_storage_are_refused(offset, shape, stride, tmp_path):
    data = tensor_pickle(offset, shape, stride)
    path = write_archive(tmp_path / "model.pt", data, **{"data/0": bytes(16)})
    with pytest.raises(RestrictedPickleError):
        read_checkpoint(path)


def test_an_empty_tensor_of_a_shape_beyond_what_torch_counts_is_refused(tmp_path):
    data = tensor_pickle(0, (0, 1 << 62, 4), (1, 1, 1))
    path = write_archive(tmp_path / "model.pt", data, **{"data/0": bytes(16)})
    with pytest.raises(
        RestrictedPickleError, match=r"model\.pt is damaged or no checkpoint: Runti"
    ):
        read_checkpoint(path)["x"].load()


def test_what_was_checked_cannot_be_changed_afterwards(tmp_path):
    # BUILD (b) would set attributes, such as the archive from which bytes are read.
    whole = tensor_pickle(0, (4,), (1,))
    assert whole.endswith(b"s.")
    data = whole[:-2] + b"}X\x05\x00\x00\x00shapeK\x09sbs."
    path = write_archive(tmp_path / "model.pt", data, **{"data/0": bytes(16)})
    with pytest.raises(RestrictedPickleError, match="is not described as"):
        read_checkpoint(path)


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(U\x07storagectorch\nFloatStorage\n%bU\x03cpu%btQ"
INFINITY = b"G\x7f\xf0\x00\x00\x00\x00\x00\x00"


def test_a_function_that_is_admitted_cannot_be_changed(tmp_path):
    # Its attributes, or the defaults of what it takes, would stay for every later checkpoint.
    for state in (b"}U\x04evilK\x01s", b"N}U\x0c__defaults__)s\x86"):
        path = write_archive(tmp_path / "model.pt", b"\x80\x02" + REBUILD + state + b"b.")
        with pytest.raises(RestrictedPickleError, match="is not described as"):
            read_checkpoint(path)


def test_a_dictionary_keeps_its_methods(tmp_path):
    changed = b"\x80\x02ccollections\nOrderedDict\n)R}U\x05itemsK\x01sb."
    read = read_checkpoint(write_archive(tmp_path / "model.pt", changed))
    assert load_tensors(read, where="model.pt") == {}


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # LONG_BINPUT: a table of two thousand million places
        b"]p99999999999\n.",  # PUT
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"a.",  # BINBYTES8
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"a.",  # BYTEARRAY8
        b"\x80\x02" + STORAGE % (b"U\x010", INFINITY) + b".",
        b"\x80\x02" + STORAGE % (b"]", b"K\x04") + b".",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02(ios\nsystem\n.",
        b"\x82\x01.",
        b".",
    ],
)  # fmt: skip
def test_hostile_opcodes_are_refused_before_they_take_memory(data, tmp_path):
    with pytest.raises(RestrictedPickleError):
        read_checkpoint(write_archive(tmp_path / "model.pt", data))


def test_many_tensors_of_one_storage_are_refused_before_they_fill_the_memory(tmp_path):
    shared = torch.zeros(1).expand(1 << 20)
    torch.save({"model": {str(n): shared[n:] for n in range(20)}}, tmp_path / "model.pt")
    read = read_checkpoint(tmp_path / "model.pt")
    with pytest.raises(RestrictedPickleError, match=r"20 tensors would take .* bytes of memory"):
        load_tensors(read["model"], where="model.pt")


def test_a_damaged_archive_is_read_or_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"model": OrderedDict(a=torch.ones(3, 4), b=torch.ones(2))}, path)
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for place in draw.choices(range(len(whole)), k=draw.randint(1, 3)):
            damaged[place : place + draw.randint(0, 4)] = draw.randbytes(draw.randint(0, 4))
        path.write_bytes(damaged)
        try:
            read = read_checkpoint(path)
            load_tensors(read["model"], where="model.pt")
        except RestrictedPickleError:
            continue
        assert [tuple(stored.shape) for stored in read["model"].values()] == [(3, 4), (2,)]


def test_storage_with_missing_bytes_is_refused(tmp_path):
    data = tensor_pickle(0, (4,), (1,))
    path = write_archive(tmp_path / "model.pt", data, **{"data/0": bytes(12)})
    with pytest.raises(RestrictedPickleError, match="has 12 bytes, expected 4 values"):
        read_checkpoint(path)["x"].load()


def test_storage_with_changed_bytes_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    values = torch.arange(8.0)
    torch.save({"a": values}, path)
    whole, stored = path.read_bytes(), values.numpy().tobytes()
    path.write_bytes(whole.replace(stored, stored[::-1]))
    with pytest.raises(
        RestrictedPickleError, match="is damaged or no checkpoint: BadZipFile: Bad CRC-32"
    ):
        read_checkpoint(path)["a"].load()


def test_tensor_of_a_shape_that_is_no_number_is_refused(tmp_path):
    shape_of_letters = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01U\x01aU\x01btR."
    with pytest.raises(RestrictedPickleError, match="is not described as"):
        read_checkpoint(write_archive(tmp_path / "model.pt", shape_of_letters))


def test_compressed_entries_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor_pickle(0, (4,), (1,)))
        archive.writestr("archive/data/0", bytes(16))
    with pytest.raises(RestrictedPickleError, match="compressed"):
        read_checkpoint(tmp_path / "model.pt")


def test_compressed_bytes_of_a_tensor_are_refused(tmp_path):
    path = write_archive(tmp_path / "model.pt", tensor_pickle(0, (4,), (1,)))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(16))
    with pytest.raises(RestrictedPickleError, match="compressed"):
        read_checkpoint(path)["x"].load()


def test_big_endian_is_refused(tmp_path):
    path = write_archive(tmp_path / "model.pt", pickle.dumps({}), byteorder=b"big")
    with pytest.raises(RestrictedPickleError, match="big-endian"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x02}.", b"PK not really"])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(RestrictedPickleError, match="not a zip archive"):
        read_checkpoint(tmp_path / "model.pt")


def test_damaged_pickle_is_refused(tmp_path):
    path = write_archive(tmp_path / "model.pt", pickle.dumps({"a": [1, 2]}, protocol=2)[:-3])
    with pytest.raises(RestrictedPickleError, match="damaged"):
        read_checkpoint(path)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "model.pt")


def test_state_with_something_else_than_tensors_is_refused():
    with pytest.raises(RestrictedPickleError, match="expected a tensor for 'x', got int"):
        load_tensors({"x": 1}, where="model.pt")


def test_an_archive_is_opened_once_for_all_its_tensors(tmp_path, monkeypatch):
    saved = {f"{number}": torch.full((3,), float(number)) for number in range(20)}
    torch.save(saved, tmp_path / "model.pt")
    state = read_checkpoint(tmp_path / "model.pt")
    opened = []
    archive = zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda path: opened.append(path) or archive(path))
    tensors = load_tensors(state, where="model")
    assert opened == [tmp_path / "model.pt"]
    assert tensors.keys() == saved.keys()
    assert all(torch.equal(tensors[name], saved[name]) for name in saved)


def test_tensors_stay_on_disk_until_loaded(tmp_path):
    torch.save({"x": torch.ones(2)}, tmp_path / "model.pt")
    assert isinstance(read_checkpoint(tmp_path / "model.pt")["x"], StoredTensor)
