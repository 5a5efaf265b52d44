"""The enhancement recipe runs from folders of audio to its tables."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.data.manifest import read_manifest

from .conftest import run_script

WAYS = """
si_sdr: {sdr: 1.0}
both: {sdr: 1.0, quality: {mos: 20.0}, smooth_db: [40.0, 60.0]}
heads: {sdr: 1.0, quality: {mos: 1.0, estoi: 1.0}}
"""


@pytest.fixture
def material(tmp_path: Path, speech: Callable[..., np.ndarray]) -> Path:
    """Three speakers and three noises, a speaker and a noise of them for the test."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(3):
        split = "validation" if number == 2 else "train"
        for kind in ("clean", "noise"):
            path = f"{kind}_{number}.wav"
            hiss = (0.1 * rng.standard_normal(80000)).astype(np.float32)
            soundfile.write(tmp_path / path, speech(5, number) if kind == "clean" else hiss, 16000)
            rows.append({"path": path, "kind": kind, "speaker": f"{number}", "split": split})
    sources = tmp_path / "sources.jsonl"
    sources.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return sources


def _call(script: str, sources: Path, model: Path, *options: str) -> str:
    folders = ["--audio", sources.parent, "--work", sources.parent / "work"]
    done = run_script(f"enhancement/{script}", sources, *folders, "--model", model, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_trains_each_way_once_and_judges_it(material: Path, tiny_model_dir: Path) -> None:
    for package in ("pesq", "pystoi", "speechmos", "distillmos", "torchaudio"):
        pytest.importorskip(package)
    ways = material.parent / "ways.yaml"
    ways.write_text(WAYS)
    options = ["--ways", str(ways), "--seeds", "0", "--start-steps", "2", "--steps", "2"]
    options += ["--batch", "2", "--seconds", "1", "--monitored", "2", "--width", "16"]
    said = _call("train.py", material, tiny_model_dir, *options)
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "start-0", "si_sdr-0", "both-0", "heads-0",
    ]  # fmt: skip
    run = json.loads((material.parent / "work/both-0/run.json").read_text())
    assert [reading["step"] for reading in run["monitor"]] == [0, 1, 2]
    assert not _call("train.py", material, tiny_model_dir, *options)  # finished runs are skipped

    tables = _call("judge.py", material, tiny_model_dir, "--test", "1")
    for way in ("noisy", "start", "si_sdr", "both"):
        assert f"| {way} |" in tables
    assert "both: reached" in tables or "both: not reached" in tables
    assert "both-0: " in tables


def test_outputs_of_the_networks_are_a_manifest_to_label(
    material: Path, tiny_model_dir: Path
) -> None:
    ways = material.parent / "ways.yaml"
    ways.write_text("si_sdr: {sdr: 1.0}")
    options = ["--ways", str(ways), "--seeds", "0", "--start-steps", "1", "--steps", "1"]
    options += ["--batch", "1", "--seconds", "1", "--monitored", "1", "--width", "16"]
    _call("train.py", material, tiny_model_dir, *options)
    output = material.parent / "outputs"
    folders = ["--audio", material.parent, "--work", material.parent / "work"]
    done = run_script(
        "enhancement/outputs.py", material, *folders, "--output", output, "--count", "10"
    )
    assert done.returncode == 0, done.stderr
    recordings = read_manifest(output / "manifest.jsonl")
    assert [r.system_id for r in recordings] == ["si_sdr-0"] * 10 + ["start-0"] * 10
    assert [r.meta["split"] for r in recordings[:10]] == ["train"] * 9 + ["validation"]
    for recording in recordings:
        enhanced, clean = (
            soundfile.read(output / path)[0]
            for path in (recording.audio_path, recording.meta["reference_path"])
        )
        assert len(enhanced) == len(clean) == 80000
        assert np.abs(enhanced).max() > 0
