"""The recipe of the default model splits its recordings before anything is made from them."""

import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .conftest import load_script


@pytest.fixture
def prepare() -> ModuleType:
    return load_script("default/prepare.py")


def _split(
    prepare: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    audio: Path,
    rows: list[dict[str, Any]],
    *options: str,
) -> dict[str, dict[str, Any]]:
    output = audio / "sources.jsonl"
    (audio / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["prepare.py", str(audio), "--output", str(output), "--validation-share", "0.5"]
    monkeypatch.setattr(sys, "argv", [*arguments, *options])
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
