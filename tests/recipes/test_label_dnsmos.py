"""DNSMOS of many recordings: a table by uid, which a killed run goes on with."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.audio import read_audio
from urgentmos.data.label_table import read_labels
from urgentmos.labels.dnsmos import Dnsmos

from .conftest import run_script

pytest.importorskip("onnx", exc_type=ImportError)
pytest.importorskip("speechmos", exc_type=ImportError)

# In seconds: one window of DNSMOS, three, one.
DURATIONS = {"a": 5.0, "b": 3.0, "c": 4.6}


@pytest.fixture
def manifest(tmp_path: Path, speech: Callable[..., np.ndarray]) -> Path:
    """Three recordings without DNSMOS, one with all of it, one of the other side."""
    lines = []
    for number, (name, seconds) in enumerate([*DURATIONS.items(), ("d", 1.0), ("e", 1.0)]):
        soundfile.write(tmp_path / f"{name}.wav", speech(seconds, number), 16000)
        lines.append({
            "audio_path": f"{name}.wav", "uid": name, "system_id": "s", "reference_id": name,
            "duration": seconds, "meta": {"split": "validation" if name == "e" else "train"},
            "metrics": dict.fromkeys(Dnsmos.metrics, 3.0) if name == "d" else {"dnsmos_ovrl": 3.0},
        })  # fmt: skip
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def label(manifest: Path, *options: str) -> dict[str, dict[str, float]]:
    table = manifest.parent / "labels.csv.gz"
    done = run_script("default/label_dnsmos.py", manifest, "--output", table, *options)
    assert done.returncode == 0, done.stderr
    return read_labels(table)


def test_labels_are_those_of_the_tool(manifest: Path) -> None:
    labels = label(manifest, "--batch", "2")
    assert set(labels) == set(DURATIONS)
    tool = Dnsmos()
    for name, given in labels.items():
        recording = read_audio(manifest.parent / f"{name}.wav").waveform
        assert given == pytest.approx(tool.label(recording, None), abs=1e-3)


def test_bfloat16_moves_them_little(manifest: Path) -> None:
    exact = label(manifest, "--one-window")
    (manifest.parent / "labels.csv.gz").unlink()
    fast = label(manifest, "--one-window", "--precision", "bfloat16")
    assert set(fast) == set(exact) == {"a", "c"}
    for name, given in fast.items():
        assert given == pytest.approx(exact[name], abs=0.1)


def test_a_second_run_labels_what_has_none(manifest: Path) -> None:
    table = manifest.parent / "labels.csv.gz"
    label(manifest, "--recordings", "1")
    (first,) = read_labels(table)
    soundfile.write(manifest.parent / f"{first}.wav", np.zeros(8), 16000)
    assert set(label(manifest)) == set(DURATIONS)


def test_a_table_of_other_recordings_is_left_as_it_is(manifest: Path) -> None:
    labels = label(manifest, "--one-window")
    table = manifest.parent / "labels.csv.gz"
    done = run_script(
        "default/label_dnsmos.py", manifest, "--output", table, "--split", "validation"
    )
    assert done.returncode == 2
    assert "has labels of other recordings: name another table" in done.stderr
    assert read_labels(table) == labels


def test_a_table_needs_no_suffix(manifest: Path) -> None:
    table = manifest.parent / "labels"
    done = run_script(
        "default/label_dnsmos.py", manifest, "--output", table, "--recordings", "1", "--one-window"
    )
    assert done.returncode == 0, done.stderr
    assert len(read_labels(table)) == 1
