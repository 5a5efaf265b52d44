import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import Result

from urgentmos.model.assessor import build_assessor
from urgentmos.model.checkpoint import save_model
from urgentmos.model.config import ModelConfig

Invoke = Callable[..., Result]


@pytest.fixture
def folders(recordings: Path, tmp_path: Path) -> tuple[Path, Path]:
    a, b = tmp_path / "a", tmp_path / "b"
    for folder, names in ((a, ("00", "01", "05")), (b, ("00", "01", "06"))):
        folder.mkdir()
        for name in names:
            content = (recordings / f"{name}.wav").read_bytes()
            (folder / f"{name}.wav").write_bytes(content)
    return a, b


def test_two_files_give_a_verdict(invoke: Invoke, recordings: Path, tiny_model_dir: Path) -> None:
    args = ["--model", tiny_model_dir]
    result = invoke("compare", recordings / "04.wav", recordings / "28.wav", *args)
    assert result.exit_code == 0
    verdict, numbers, mos, flags = result.stdout.splitlines()
    assert verdict in {"A better", "tie", "B better"}
    assert numbers.startswith("P(A better) 0.")
    assert mos.startswith("MOS of A ")
    assert flags == "flags of A: short"


def test_a_file_ties_with_itself(invoke: Invoke, recordings: Path, tiny_model_dir: Path) -> None:
    file = recordings / "10.wav"
    result = invoke("compare", file, file, "--model", tiny_model_dir)
    assert result.stdout.startswith("tie\n")


def test_a_file_that_cannot_be_read_is_status_1(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path
) -> None:
    files = recordings / "00.wav", recordings / "03.wav"
    result = invoke("compare", *files, "--model", tiny_model_dir)
    assert result.exit_code == 1
    assert "failed: B: not readable as audio" in result.stderr


def test_a_file_that_may_not_be_read_or_has_too_long_a_name_is_no_wrong_usage(
    invoke: Invoke,
    recordings: Path,
    tiny_model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Root may read everything, so the operating system's answer is made up.
    monkeypatch.setattr(os, "access", lambda path, mode, **options: mode != os.R_OK)
    file, options = recordings / "00.wav", ["--model", tiny_model_dir, "--device", "cpu"]
    assert invoke("compare", file, file, *options).exit_code == 0
    result = invoke("compare", file, tmp_path / ("x" * 300 + ".wav"), *options)
    assert result.exit_code == 1, result.output
    assert "failed: B: cannot be opened: " in result.stderr
    folder = invoke("compare", recordings, recordings, *options)
    assert folder.exit_code == 2
    assert "may not be read" in folder.stderr


def test_folders_give_rows_a_summary_and_what_was_not_matched(
    invoke: Invoke, folders: tuple[Path, Path], tiny_model_dir: Path
) -> None:
    (folders[1] / "05.m4a").touch()
    result = invoke("compare", *folders, "--model", tiny_model_dir)
    assert result.exit_code == 0
    assert "left out, as they cannot be read here: 1 .m4a" in result.stderr
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [(Path(row["a"]).name, Path(row["b"]).name) for row in rows] == [
        ("00.wav", "00.wav"),
        ("01.wav", "01.wav"),
    ]
    assert "1 only in" in result.stderr
    assert "05.wav" in result.stderr
    assert "06.wav" in result.stderr
    assert "A better: 0, tie: 2, B better: 0" in result.stderr


def test_recordings_with_several_counterparts_are_told_and_the_others_compared(
    invoke: Invoke, folders: tuple[Path, Path], tiny_model_dir: Path
) -> None:
    for name in ("05.flac", "05.mp3"):
        (folders[1] / name).touch()
    result = invoke("compare", *folders, "--model", tiny_model_dir)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [Path(row["a"]).name for row in rows] == ["00.wav", "01.wav"]
    files = "".join(
        f"\n  {path}" for path in (folders[0] / "05.wav", *sorted(folders[1].glob("05.*")))
    )
    told = "3 with several counterparts, which differ in their suffix only, not compared:"
    assert told + files in result.stderr


def test_a_failed_pair_is_counted_and_status_1(
    invoke: Invoke, folders: tuple[Path, Path], tiny_model_dir: Path, tmp_path: Path
) -> None:
    (folders[1] / "00.wav").write_text("this is not audio")
    output = tmp_path / "pairs.jsonl"
    result = invoke("compare", *folders, "--model", tiny_model_dir, "-o", output)
    assert (result.exit_code, result.stdout) == (1, "")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["failed", "ok"]
    assert "1 of 2 failed" in result.stderr
    again = invoke("compare", *folders, "--model", tiny_model_dir, "-o", output)
    assert again.exit_code == 2
    assert "exists: go on with --resume, or start again with --overwrite" in again.stderr


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_resume_keeps_compared_pairs_and_tries_failed_ones_again(
    suffix: str, invoke: Invoke, folders: tuple[Path, Path], tiny_model_dir: Path, tmp_path: Path
) -> None:
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"pairs{suffix}"
    arguments = ("compare", *folders, "--model", tiny_model_dir, "-o")
    assert invoke(*arguments, whole).exit_code == 0
    broken = folders[1] / "01.wav"
    content = broken.read_bytes()
    broken.write_bytes(b"")
    assert invoke(*arguments, output).exit_code == 1

    broken.write_bytes(content)
    result = invoke(*arguments, output, "--resume")

    assert result.exit_code == 0
    assert "resuming: 1 rows kept, 1 to do" in result.stderr
    assert output.read_bytes() == whole.read_bytes()


def test_a_page_shows_the_pairs(
    invoke: Invoke, folders: tuple[Path, Path], tiny_model_dir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "pairs.html"
    assert invoke("compare", *folders, "--model", tiny_model_dir, "-o", output).exit_code == 0
    assert output.read_text().count('<tr class="ok">') == 2


def test_resume_needs_an_output_to_go_on_with(invoke: Invoke, recordings: Path) -> None:
    result = invoke("compare", recordings, recordings, "--resume")
    assert result.exit_code == 2
    assert "--resume needs --output" in result.stderr


def test_a_file_and_a_folder_are_refused(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path
) -> None:
    result = invoke("compare", recordings, recordings / "00.wav", "--model", tiny_model_dir)
    assert result.exit_code == 2
    assert "two files or two folders" in result.stderr


def test_a_folder_that_does_not_exist_is_named(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    result = invoke("compare", recordings, tmp_path / "nowhere", "--model", tiny_model_dir)
    assert result.exit_code == 2
    assert "no such folder" in result.stderr


def test_an_output_that_is_read_is_refused(
    invoke: Invoke, folders: tuple[Path, Path], tiny_model_dir: Path, tmp_path: Path
) -> None:
    pairs, recording = tmp_path / "pairs.csv", folders[0] / "00.wav"
    pairs.write_text("precious")
    # Of a folder, as far as it is read.
    (folders[0] / "05.wav").unlink()
    (folders[0] / "05.wav").symlink_to(pairs)
    (folders[1] / "05.flac").touch()
    options = ["--model", tiny_model_dir, "-o", pairs, "--overwrite"]
    for sides in ((pairs, recording), (recording, pairs), folders):
        result = invoke("compare", *sides, *options)
        assert result.exit_code == 2, result.output
        assert "is what is to be read; name another output" in result.stderr
    assert pairs.read_text() == "precious"


@pytest.mark.parametrize("to_file", [False, True], ids=["stdout", "file"])
def test_a_list_of_pairs_is_told_to_be_none_of_two_recordings(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path, to_file: bool
) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b\n00.wav,01.wav\n")
    output = ["-o", tmp_path / "out.csv"] if to_file else []
    files = (pairs, recordings / "00.wav")
    result = invoke("compare", *files, "--model", tiny_model_dir, *output)
    assert result.exit_code == 1
    assert "two recordings or two folders, no list of pairs" in result.stderr
    files = (recordings / "03.wav", recordings / "00.wav")
    result = invoke("compare", *files, "--model", tiny_model_dir)
    assert "no list of pairs" not in result.stderr


def test_there_is_nothing_to_overwrite_without_an_output(invoke: Invoke, recordings: Path) -> None:
    result = invoke("compare", recordings, recordings, "--overwrite")
    assert result.exit_code == 2
    assert "--overwrite needs --output" in result.stderr


def test_folders_that_share_no_name_are_refused(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.wav").touch()
    result = invoke("compare", recordings, other, "--model", tiny_model_dir)
    assert result.exit_code == 2
    assert "same relative path" in result.stderr


def test_a_model_that_cannot_compare_is_refused_before_any_file_is_read(
    invoke: Invoke, tiny_config: ModelConfig, tmp_path: Path
) -> None:
    headless = replace(tiny_config, preference=None)
    save_model(tmp_path / "model", build_assessor(headless), headless, {})
    result = invoke("compare", "a.wav", "b.wav", "--model", tmp_path / "model")
    assert result.exit_code == 2
    assert "has no preference head" in result.stderr
