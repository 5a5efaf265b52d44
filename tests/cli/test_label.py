import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from urgentmos.cli import build_app
from urgentmos.labels import catalogue


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(tmp_path / "noise.wav", noise, 16000)
    row = {
        "audio_path": "noise.wav", "uid": "s:1", "system_id": "s", "reference_id": "1",
        "duration": 0.5, "metrics": {}, "meta": {"reference_path": "noise.wav", "split": "train"},
    }  # fmt: skip
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(build_app(["label"]), ["label", *map(str, arguments)])


def test_labels_a_manifest_and_prints_counts(manifest: Path) -> None:
    output = manifest.with_name("out.jsonl")
    result = _run(manifest, "-o", output, "--labels", "lsd, mcd", "--workers", "0")
    assert result.exit_code == 0, result.output
    row = json.loads(output.read_text())
    assert row["metrics"]["mcd"] == pytest.approx(0, abs=1e-5)
    assert row["meta"]["reference_path"] == "noise.wav"
    assert "lsd" in result.stdout


def test_a_failed_label_shows_in_the_exit_status(manifest: Path) -> None:
    manifest.with_name("noise.wav").write_bytes(b"not audio")
    output = manifest.with_name("out.jsonl")
    result = _run(manifest, "-o", output, "--labels", "lsd", "--workers", "0")
    assert result.exit_code == 1
    assert "lsd" in json.loads(output.read_text())["meta"]["label_errors"]


def test_having_no_reference_is_no_failure(manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace('"reference_path": "noise.wav"', '"a": 1'))
    output = manifest.with_name("out.jsonl")
    result = _run(manifest, "-o", output, "--labels", "lsd", "--workers", "0")
    assert result.exit_code == 0, result.output
    assert result.stderr == "a recording names its clean reference in meta.reference_path\n"


def test_a_system_that_is_late_is_told(manifest: Path) -> None:
    reference, _ = soundfile.read(manifest.with_name("noise.wav"))
    soundfile.write(manifest.with_name("late.wav"), np.pad(reference, (240, 0))[:8000], 16000)
    row = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**row, "audio_path": "late.wav"}) + "\n")
    output = manifest.with_name("out.jsonl")
    result = _run(manifest, "-o", output, "--labels", "lsd", "--workers", "0")
    assert result.exit_code == 0, result.output
    assert "later (+) or earlier than their references: s +15 ms." in result.stderr
    summary = json.loads(manifest.with_name("out.jsonl.labels.json").read_text())
    assert summary["late_s"] == {"s": 0.015}
    # Once it is shifted and labelled again, nothing is left of that.
    soundfile.write(manifest.with_name("late.wav"), reference, 16000)
    again = manifest.with_name("again.jsonl")
    result = _run(output, "-o", again, "--labels", "lsd", "--workers", "0")
    assert "later (+)" not in result.stderr
    assert json.loads(manifest.with_name("again.jsonl.labels.json").read_text())["late_s"] == {
        "s": 0
    }


def test_failures_are_not_hidden_behind_recordings_without_a_reference(manifest: Path) -> None:
    good = json.loads(manifest.read_text())
    rows = [good, *({**good, "uid": f"alone:{number}", "meta": {}} for number in range(4))]
    for seconds in (0.2, 0.25, 0.3):
        name = f"part_{seconds}.wav"
        soundfile.write(manifest.with_name(name), np.full(int(16000 * seconds), 0.1), 16000)
        rows.append({**good, "uid": name, "audio_path": name})
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = manifest.with_name("out.jsonl")
    result = _run(manifest, "-o", output, "--labels", "lsd,mcd", "--workers", "0")
    assert result.exit_code == 1
    # One has a reference: whoever made the manifest knows where to name it.
    assert "meta.reference_path" not in result.stderr
    header, *lines = result.stdout.splitlines()
    assert header.split("  ")[1:] == ["recordings", "no reference", "failed", "most common failure"]
    for name, line in zip(("lsd", "mcd"), lines, strict=True):
        assert line.split()[:4] == [name, "1", "4", "3"]
        assert "recording of 0.20 s, reference of 0.50 s" in line


def test_a_folder_that_does_not_exist_is_named(manifest: Path) -> None:
    result = _run(manifest, "-o", manifest.parent / "no" / "out.jsonl", "--labels", "lsd")
    assert result.exit_code == 2
    assert "out.jsonl' does not exist" in result.stderr


def test_where_reads_meta(manifest: Path) -> None:
    other = json.loads(manifest.read_text())
    other = {**other, "uid": "s:2", "meta": {"split": "test"}}
    with manifest.open("a") as file:
        file.write(json.dumps(other) + "\n")
    output = manifest.with_name("out.jsonl")
    arguments = ("--labels", "lsd", "--workers", "0", "--where")
    assert _run(manifest, "-o", output, *arguments, "split=train").exit_code == 0
    first, second = map(json.loads, output.read_text().splitlines())
    assert list(first["metrics"]) == ["lsd"]
    assert second["metrics"] == {}
    result = _run(manifest, "-o", manifest.with_name("none.jsonl"), *arguments, "split=tset")
    assert result.exit_code == 2
    assert "'where' holds for none of its 2 recordings" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "pesk"], "did you mean 'pesq'"),
        (["--labels", ""], "expected MANIFEST"),
        (["--labels", "lsd", "--share", "lsd"], "expected KEY=VALUE"),
        (["--labels", "lsd", "--share", "lsd=much"], "expected a number"),
        (
            ["--labels", "lsd", "--precision", "float16"],
            "'float16' is not one of 'float32', 'bfloat16'",
        ),
    ],
)
def test_wrong_usage_ends_with_2(manifest: Path, arguments: list[str], message: str) -> None:
    result = _run(manifest, "-o", manifest.with_name("out.jsonl"), *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("label", "command"),
    [
        ("pesq", "pip install 'urgentmos[labels]'"),
        ("pesqc2", "pip install --use-pep517 --no-cache-dir --no-build-isolation --no-deps pesqc2"),
        ("sbert", "pip install 'urgentmos[encoders]'"),
    ],
)
def test_a_missing_tool_comes_with_the_command_that_brings_it(
    manifest: Path, label: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "find_spec", lambda _: None)
    result = _run(manifest, "-o", manifest.with_name("out.jsonl"), "--labels", label)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"{command}\n")
    assert command in _run("--list").stdout


def test_list_names_every_label_and_what_it_needs() -> None:
    result = _run("--list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert any("distill_mos" in line for line in lines)
    assert "aligned reference" in next(line for line in lines if line.startswith("estoi"))


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out"])
def test_an_output_that_would_not_hold_what_its_name_says_is_refused(
    manifest: Path, name: str
) -> None:
    output = manifest.with_name(name)
    result = _run(manifest, "-o", output, "--labels", "lsd", "--workers", "0")
    assert result.exit_code == 2
    assert "in .jsonl" in " ".join(result.stderr.replace("│", " ").split())
    assert not list(manifest.parent.glob(f"{name}*"))
