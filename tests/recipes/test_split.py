"""The recipe of the default model splits its recordings before anything is made from them."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import load_script

pytest.importorskip("scipy", exc_type=ImportError)

from scipy.signal import butter, sosfilt


@pytest.fixture
def prepare() -> ModuleType:
    return load_script("default/prepare.py")


def _split(
    prepare: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    audio: Path,
    rows: list[dict[str, Any]],
    *options: str,
    bright: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    output = audio / "sources.jsonl"
    (audio / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["prepare.py", str(audio), "--output", str(output), "--validation-share", "0.5"]
    monkeypatch.setattr(sys, "argv", [*arguments, *options])
    # These lists are of no real recordings.
    monkeypatch.setattr(
        prepare, "is_too_bright", lambda path: path.relative_to(audio).as_posix() in bright
    )
    prepare.main()
    lines = map(json.loads, output.read_text().splitlines())
    return {line["path"]: line for line in lines}


@pytest.mark.parametrize("speaker", [None, "a system's voice"])
def test_processed_speech_is_on_the_side_of_its_reference(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, speaker: str | None
) -> None:
    clean = [
        {"path": f"clean/x/{n}.wav", "kind": "clean", "speaker": f"speaker {n}"} for n in range(8)
    ]
    processed = [
        {
            "path": f"processed/{system}/{row['path'][-5]}.wav",
            "kind": "processed",
            "speaker": speaker,
            "reference": row["path"],
        }
        for system in ("one", "two")
        for row in clean
    ]
    listed = _split(prepare, monkeypatch, tmp_path, [*clean, *processed])
    assert {line["split"] for line in listed.values()} == {"train", "validation"}
    for row in processed:
        line, reference = listed[row["path"]], listed[row["reference"]]
        assert line["split"] == reference["split"]
        assert line["speaker"] == (speaker or reference["speaker"])


def test_outputs_for_one_reference_that_is_not_listed_stay_together(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [
        {"path": f"processed/{system}/{n}.wav", "kind": "processed", "reference": f"no/{n}.wav"}
        for system in ("one", "two")
        for n in range(8)
    ]
    listed = _split(prepare, monkeypatch, tmp_path, rows)
    sides = [listed[f"processed/one/{n}.wav"]["split"] for n in range(8)]
    assert sides == [listed[f"processed/two/{n}.wav"]["split"] for n in range(8)]
    assert set(sides) == {"train", "validation"}


def test_what_is_too_bright_is_left_out_and_nobodys_reference(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean = [{"path": f"clean/x/{n}.wav", "kind": "clean", "speaker": f"{n}"} for n in range(2)]
    processed = [
        {"path": f"processed/one/{n}.wav", "kind": "processed", "reference": f"clean/x/{n}.wav"}
        for n in range(2)
    ]
    rows = [*clean, *processed]
    before = _split(prepare, monkeypatch, tmp_path, rows)
    listed = _split(prepare, monkeypatch, tmp_path, rows, bright=["clean/x/1.wav"])
    assert set(before) - set(listed) == {"clean/x/1.wav"}
    # What was made of it stays on its side.
    alone = before["processed/one/1.wav"] | {"reference": None}
    assert listed == {path: before[path] for path in listed} | {"processed/one/1.wav": alone}
    bright = ["clean/x/1.wav"]
    kept = _split(prepare, monkeypatch, tmp_path, rows, "--keep-bright", bright=bright)
    assert kept == before


def test_too_bright_is_what_has_more_power_at_the_top_than_in_the_voice(
    prepare: ModuleType, tmp_path: Path, speech: Callable[..., np.ndarray]
) -> None:
    voice = speech(seconds=2.0)
    hiss = np.random.default_rng(0).normal(size=len(voice))
    hiss = sosfilt(butter(8, prepare.TOP_HZ, "bandpass", fs=16000, output="sos"), hiss)
    bandwidth = (prepare.VOICE_HZ[1] - prepare.VOICE_HZ[0]) / (
        prepare.TOP_HZ[1] - prepare.TOP_HZ[0]
    )
    in_voice = sosfilt(butter(8, prepare.VOICE_HZ, "bandpass", fs=16000, output="sos"), voice)
    even = hiss * np.std(in_voice) / np.std(hiss) / bandwidth**0.5
    for gain, expected in ((0.0, False), (0.7, False), (1.5, True)):
        soundfile.write(tmp_path / "speech.wav", 0.3 * (voice + gain * even), 16000)
        assert prepare.is_too_bright(tmp_path / "speech.wav") is expected


def test_of_a_few_recordings_each_kind_and_side_is_there_with_all_references(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [
        {"path": f"{kind}/x/{n}.wav", "kind": kind, "speaker": f"speaker {n}"}
        for kind in ("clean", "processed", "reference")
        for n in range(20)
    ]
    all_of_them = _split(prepare, monkeypatch, tmp_path, rows)
    few = _split(prepare, monkeypatch, tmp_path, rows, "--at-most", "3")
    assert few.items() <= all_of_them.items()
    counts = Counter((line["kind"], line["split"]) for line in few.values())
    sides = ("train", "validation")
    assert all(counts[kind, side] == 3 for kind in ("clean", "processed") for side in sides)
    assert sum(counts["reference", side] for side in sides) == 20
    assert few == _split(prepare, monkeypatch, tmp_path, rows[::-1], "--at-most", "3")
