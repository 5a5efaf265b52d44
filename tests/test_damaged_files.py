"""Readers of manifests, configurations and models: damage is told, and costs little memory."""

import gzip
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from urgentmos.config import ConfigError, load_config
from urgentmos.data.label_table import read_labels
from urgentmos.data.manifest import ManifestError, read_manifest
from urgentmos.model.checkpoint import CheckpointError, load_model
from urgentmos.model.config import ModelConfig

# What damage at random does not find by itself.
_TOKENS = [
    b"1e999", b"-1", b"0", b"NaN", b"null", b"99999999", b"9" * 5000, b"[" * 5000, b"{", b'"',
    b"\n", b",", b"\xff", b"\x00", b"!!int x", b"!!float ''", b"!!timestamp x", b"!!binary x",
    b"&a [*a]", b"!!python/object/apply:os.system [ls]", b"2001-99-99",
]  # fmt: skip
_SETTINGS = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)

MANIFEST = b"".join(
    json.dumps(
        {
            "audio_path": f"{uid}.wav", "uid": f"s:{uid}", "system_id": "s", "reference_id": uid,
            "duration": 1.5, "metrics": {"mos_overall": 3.5, "pesq": None}, "meta": {"a": 1},
        }
    ).encode() + b"\n"
    for uid in ("x", "y")
)  # fmt: skip
LABELS = b"uid,mos_overall,pesq\ns:x,3.5,\ns:y,2.0,1.5\n"


def _damage(data: st.DataObject, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        width = data.draw(st.integers(0, 8))
        damaged[place : place + width] = data.draw(st.sampled_from(_TOKENS) | st.binary(max_size=4))
    return bytes(damaged[: data.draw(st.integers(0, len(damaged))) or None])


def _read(
    read: Callable[[Path], object], path: Path, content: bytes, error: type[Exception]
) -> None:
    path.write_bytes(content)
    message = ""
    tracemalloc.start()
    try:
        read(path)
    except error as told:
        message = str(told)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(message) < 20_000
    assert peak < 50e6


@_SETTINGS
@given(data=st.data())
def test_a_damaged_manifest_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    _read(read_manifest, tmp_path / "a.jsonl", _damage(data, MANIFEST), ManifestError)


@_SETTINGS
@given(data=st.data())
def test_a_damaged_label_table_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    _read(read_labels, tmp_path / "a.csv", _damage(data, LABELS), ManifestError)
    _read(read_labels, tmp_path / "a.csv.gz", _damage(data, gzip.compress(LABELS)), ManifestError)


def test_a_label_table_that_unpacks_to_gigabytes_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(b"u" * (1 << 20))
    _read(read_labels, path, path.read_bytes(), ManifestError)


@_SETTINGS
@given(data=st.data())
def test_a_damaged_configuration_is_read_or_refused(
    data: st.DataObject, tmp_path: Path, tiny_model_dir: Path
) -> None:
    content = (tiny_model_dir / "config.json").read_bytes()
    _read(
        lambda path: load_config(ModelConfig, path),
        tmp_path / "a.yaml",
        _damage(data, content),
        ConfigError,
    )


def test_a_configuration_that_names_one_list_a_billion_times_is_refused_shortly(
    tmp_path: Path, tiny_model_dir: Path
) -> None:
    lists = ["&x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lists += [f"&x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]
    content = (tiny_model_dir / "config.json").read_text(encoding="utf-8")
    bomb = content.replace('"rms"', f"[{', '.join(lists)}]")
    assert bomb != content
    path = tmp_path / "a.yaml"
    path.write_text(bomb, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"level: expected one of .* got \[") as told:
        load_config(ModelConfig, path)
    assert len(str(told.value)) < 1000


@_SETTINGS
@given(data=st.data())
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model_card.json"])
def test_a_damaged_model_is_read_or_refused(
    data: st.DataObject, name: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_model_dir, folder, dirs_exist_ok=True)
    content = _damage(data, (tiny_model_dir / name).read_bytes())
    _read(lambda _: load_model(folder), folder / name, content, CheckpointError)
