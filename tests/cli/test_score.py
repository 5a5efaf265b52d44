import csv
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import Result

from urgentmos.metrics import METRICS
from urgentmos.scoring.score_files import score_files

Invoke = Callable[..., Result]
Spawn = Callable[..., subprocess.Popen[bytes]]
Rows = list[dict[str, str]]

_ROOT = Path(__file__).resolve().parent.parent.parent


def _read(path: Path) -> Rows:
    with path.open(newline="", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def _assert_same(rows: Rows, expected: Rows) -> None:
    assert [row["path"] for row in rows] == [row["path"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        for column, value in row.items():
            if column in METRICS and value:
                assert abs(float(value) - float(other[column])) <= 1e-4 * METRICS[column].scale
            else:
                assert value == other[column]


def test_rows_go_to_stdout_and_the_rest_to_stderr(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path
) -> None:
    result = invoke("score", recordings, "--model", tiny_model_dir)
    assert result.exit_code == 1
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [Path(row["path"]).name for row in rows] == [f"{item:02}.wav" for item in range(30)]
    assert rows[3]["error"] == "not readable as audio: Format not recognised"
    assert list(rows[0])[:8] == [
        "path", "status", "error", "duration_s", "sample_rate", "channels", "flags", "model",
    ]  # fmt: skip
    assert "1 of 30 failed:" in result.stderr
    assert "03.wav: not readable as audio" in result.stderr
    assert "95 % interval" in result.stderr


def test_all_scored_is_status_0(invoke: Invoke, recordings: Path, tiny_model_dir: Path) -> None:
    result = invoke("score", recordings / "00.wav", "--model", tiny_model_dir)
    assert result.exit_code == 0
    assert "failed" not in result.stderr


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_a_list_of_files_is_scored_after_those_named(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path, separator: str
) -> None:
    names = tmp_path / "names.txt"
    listed = "".join(f"{recordings / name}.wav{separator}" for name in ("05", "00"))
    names.write_bytes(listed.encode())
    args = ["--files-from", names, "--model", tiny_model_dir]
    result = invoke("score", recordings / "04.wav", *args)
    assert result.exit_code == 0
    rows = csv.DictReader(result.stdout.splitlines())
    assert [Path(row["path"]).name for row in rows] == ["04.wav", "05.wav", "00.wav"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{recordings / '05.wav'}\n", encoding="utf-8-sig")
    result = invoke("score", "--files-from", names, "--model", tiny_model_dir)
    assert result.exit_code == 0, result.output


def test_a_list_whose_first_name_is_that_of_a_tag_is_one(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"ID3\n{recordings / '05.wav'}\n")
    result = invoke("score", "--files-from", names, "--model", tiny_model_dir)
    assert [row["path"] for row in csv.DictReader(result.stdout.splitlines())] == [
        "ID3",
        str(recordings / "05.wav"),
    ]


@pytest.mark.parametrize("listed", [False, True], ids=["path", "list"])
def test_a_name_that_cannot_be_opened_gets_its_row_and_stops_nothing(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path, listed: bool
) -> None:
    circle, names = tmp_path / "circle.wav", tmp_path / "names.txt"
    circle.symlink_to(circle)
    paths = [tmp_path / ("x" * 300), tmp_path / ("x" * 300 + ".jsonl"), circle]
    names.write_text("".join(f"{path}\n" for path in paths))
    given = ["--files-from", names] if listed else paths
    result = invoke("score", recordings / "00.wav", *given, "--model", tiny_model_dir)
    assert result.exit_code == 1, result.output
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["status"] for row in rows] == ["ok", "failed", "failed", "failed"]
    assert all(row["error"].startswith("cannot be opened: ") for row in rows[1:])


def test_a_file_that_may_not_be_read_is_no_wrong_usage(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read everything, so the operating system's answer is made up.
    closed, access, open_file = recordings / "05.wav", os.access, os.open

    def may(path: object, *args: object, **options: object) -> bool:
        return path != str(closed) and path != closed and access(path, *args, **options)

    def open_or_refuse(path: object, *args: object, **options: object) -> int:
        if path in (str(closed), closed):
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path, *args, **options)

    monkeypatch.setattr(os, "access", may)
    monkeypatch.setattr(os, "open", open_or_refuse)
    result = invoke("score", closed, recordings / "00.wav", "--model", tiny_model_dir)
    assert result.exit_code == 1, result.output
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["error"] for row in rows] == ["no permission to read the file", ""]


@pytest.mark.parametrize("option", [[], ["--files-from"]], ids=["path", "list"])
def test_the_recordings_of_a_manifest_are_scored(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, option: list[str]
) -> None:
    manifest = recordings / "manifest.jsonl"
    lines = [
        {"audio_path": "05.wav", "uid": "a"},
        {"audio_path": str(recordings / "00.wav"), "rating": 4.0},
        {"audio_path": "05.wav"},
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = invoke("score", *option, manifest, "--model", tiny_model_dir)
    assert result.exit_code == 0, result.output
    rows = csv.DictReader(result.stdout.splitlines())
    assert [row["path"] for row in rows] == [str(recordings / "05.wav"), str(recordings / "00.wav")]


def test_what_a_folder_holds_besides_is_counted(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path
) -> None:
    for path in recordings.glob("[012]*"):
        path.unlink() if path.name != "00.wav" else path.with_suffix(".m4a").touch()
    result = invoke("score", recordings, "--model", tiny_model_dir)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert "left out, as they cannot be read here: 1 .m4a; convert to WAV" in result.stderr


def test_where_nothing_was_scored_there_is_nothing_to_sum_up(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path
) -> None:
    result = invoke("score", recordings / "03.wav", "--model", tiny_model_dir)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "1 of 1 failed:"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "html"])
def test_outputs_hold_every_row(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"rows.{suffix}"
    result = invoke("score", recordings, "--model", tiny_model_dir, "-o", output)
    assert (result.exit_code, result.stdout) == (1, "")
    if suffix == "csv":
        assert len(_read(output)) == 30
    elif suffix == "jsonl":
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        assert (len(rows), rows[3]["mos"], rows[4]["channels"]) == (30, None, 1)
    elif suffix == "parquet":
        assert (
            pytest.importorskip("pyarrow.parquet", exc_type=ImportError).read_table(output).num_rows
            == 30
        )
    else:
        assert output.read_text().count("<tr ") == 30


def test_a_table_shows_mos_first_and_what_failed(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path
) -> None:
    result = invoke("score", recordings, "--model", tiny_model_dir, "--format", "table")
    lines = result.stdout.splitlines()
    assert lines[0].split()[0] == "mos"
    assert lines[0].split()[-1] == "path"
    assert lines[4].endswith("03.wav  failed: not readable as audio: Format not recognised")


def test_odd_names_go_through(
    invoke: Invoke, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["-o.wav", "a b.wav", "new\nline.wav", "naïve 音.wav", os.fsdecode(b"\xff.wav")]
    for name in names:
        with (tmp_path / name).open("wb") as file:
            soundfile.write(
                file, np.random.default_rng(0).normal(0, 0.1, 9000), 16000, format="WAV"
            )
    monkeypatch.chdir(tmp_path)
    for output in ("rows.csv", "rows.jsonl"):
        result = invoke("score", "--model", tiny_model_dir, "-o", output, "--", *names)
        assert result.exit_code == 0, result.stderr
    assert [row["path"] for row in _read(tmp_path / "rows.csv")] == names
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == names


def test_a_timeline_has_a_row_per_window(
    invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 36 * 16000)
    soundfile.write(tmp_path / "long.wav", samples, 16000)
    timeline, output = tmp_path / "t.csv", tmp_path / "o.csv"
    args = ["--model", tiny_model_dir, "--timeline", timeline, "--metrics", "mos"]
    assert invoke("score", tmp_path / "long.wav", *args, "-o", output).exit_code == 0
    assert [(row["start_s"], row["end_s"]) for row in _read(timeline)] == [
        ("0.0", "16.0"), ("15.0", "31.0"), ("28.0", "36.0"),
    ]  # fmt: skip
    soundfile.write(tmp_path / "short.wav", samples[:16000], 16000)
    paths = [tmp_path / "long.wav", tmp_path / "short.wav"]
    assert invoke("score", *paths, *args, "-o", output, "--resume").exit_code == 0
    assert [Path(row["path"]).stem for row in _read(timeline)] == ["long"] * 3 + ["short"]


def test_a_refused_resume_changes_nothing(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Neither where a timeline is not there, nor where it lacks rows that were made without it."""
    output, timeline = tmp_path / "rows.csv", tmp_path / "times.csv"
    args = ["--model", tiny_model_dir, "--metrics", "mos", "-o", output]
    one, two, broken = (recordings / f"{name}.wav" for name in ("00", "01", "03"))
    assert invoke("score", one, *args, "--timeline", timeline).exit_code == 0
    assert invoke("score", two, broken, *args, "--resume").exit_code == 1
    before = {path: path.read_bytes() for path in (output, timeline)}
    for named, told in ((timeline, "have no windows"), (tmp_path / "not_there.csv", "is not")):
        result = invoke("score", recordings, *args, "--timeline", named, "--resume")
        assert result.exit_code == 2
        assert told in result.stderr
        assert "resuming" not in result.stderr
        kept = [path for path in tmp_path.iterdir() if path.is_file()]
        assert {path: path.read_bytes() for path in kept} == before


class TestWrongUsage:
    """Each ends with status 2, a message and no traceback."""

    def _assert_refused(self, result: object, *words: str) -> None:
        assert getattr(result, "exit_code") == 2  # noqa: B009
        stderr = getattr(result, "stderr")  # noqa: B009
        assert "Traceback" not in stderr
        for word in words:
            assert word in stderr

    def test_unknown_metric(self, invoke: Invoke, recordings: Path, tiny_model_dir: Path) -> None:
        result = invoke("score", recordings, "--model", tiny_model_dir, "--metrics", "mos,peqs")
        self._assert_refused(result, "unknown metric 'peqs'; did you mean 'pesq'?")

    def test_metric_of_another_model(
        self, invoke: Invoke, recordings: Path, tiny_model_dir: Path
    ) -> None:
        result = invoke("score", recordings, "--model", tiny_model_dir, "--metrics", "utmos")
        self._assert_refused(result, "this model does not predict 'utmos'")

    def test_missing_model(self, invoke: Invoke, recordings: Path) -> None:
        result = invoke("score", recordings, "--model", "nowhere")
        self._assert_refused(result, "no folder 'nowhere' here")

    def test_folder_without_audio(self, invoke: Invoke, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        self._assert_refused(invoke("score", tmp_path / "empty"), "no audio in folder")

    def test_no_path(self, invoke: Invoke) -> None:
        self._assert_refused(invoke("score"), "expected files or folders, or --files-from")

    def test_a_manifest_that_names_no_recording(self, invoke: Invoke, tmp_path: Path) -> None:
        manifest = tmp_path / "m.jsonl"
        for content, told in (
            ("", "names no recording"),
            ('{"path": "a.wav"}\n', "m.jsonl:1: field 'audio_path' is missing; got path"),
            ("a.wav\n", "m.jsonl:1: not JSON"),
        ):
            manifest.write_text(content)
            self._assert_refused(invoke("score", manifest), told)

    def test_a_manifest_in_the_guise_of_a_list(self, invoke: Invoke, tmp_path: Path) -> None:
        names = tmp_path / "names.txt"
        names.write_text('{"audio_path": "a.wav"}\n')
        result = invoke("score", "--files-from", names)
        self._assert_refused(result, "expected a path on each line, got JSON")

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
    def test_a_list_in_utf_16(self, invoke: Invoke, tmp_path: Path, encoding: str) -> None:
        names = tmp_path / "names.txt"
        # A name without dot or slash, which alone would be folders to search.
        names.write_bytes("\ufeffspeech\r\n".encode(encoding))
        self._assert_refused(invoke("score", "--files-from", names), "is UTF-16", "UTF-8")

    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
    def test_a_recording_in_the_guise_of_a_list(
        self, invoke: Invoke, tmp_path: Path, suffix: str
    ) -> None:
        recording = tmp_path / f"a{suffix}"
        soundfile.write(recording, np.zeros(16000), 16000)
        result = invoke("score", "--files-from", recording)
        self._assert_refused(result, "is no list of paths but a recording", "give recordings as")

    @pytest.mark.parametrize("content", [b"\xff\xfb\x90\x64\0x.wav", b"ID3\x04\0a\nb", b"\0a\0"])
    def test_binary_data_without_two_zeros_in_a_row(
        self, invoke: Invoke, tmp_path: Path, content: bytes
    ) -> None:
        names = tmp_path / "names.txt"
        names.write_bytes(content)
        self._assert_refused(invoke("score", "--files-from", names), "is no list of paths")

    def test_a_list_of_nothing(self, invoke: Invoke, tmp_path: Path) -> None:
        names = tmp_path / "names.txt"
        names.write_text("\n\n")
        self._assert_refused(invoke("score", "--files-from", names), "names.txt' lists no path")

    def test_output_of_no_known_format(
        self, invoke: Invoke, recordings: Path, tiny_model_dir: Path
    ) -> None:
        result = invoke("score", recordings, "--model", tiny_model_dir, "-o", "rows.xls")
        self._assert_refused(result, "cannot tell the format of 'rows.xls'")

    def test_options_that_exclude_each_other(self, invoke: Invoke, recordings: Path) -> None:
        both = invoke("score", recordings, "-o", "x.csv", "--resume", "--overwrite")
        self._assert_refused(both, "exclude each other")
        self._assert_refused(invoke("score", recordings, "--resume"), "needs --output")
        formatted = invoke("score", recordings, "-o", "x.csv", "--format", "jsonl")
        self._assert_refused(formatted, "--format is for rows on stdout")

    def test_a_timeline_that_cannot_be_written_leaves_no_output(
        self, invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
    ) -> None:
        rows, times = tmp_path / "rows.csv", tmp_path / "times.csv"
        times.touch()
        for timeline, told in (
            (rows, "name the same file"),
            (tmp_path / ".." / tmp_path.name / rows.name, "name the same file"),
            (tmp_path / "nowhere" / "times.csv", "does not exist: make it first"),
            (times, "exists: replace it with --overwrite"),
            (tmp_path / "times.html", "cannot tell the format"),
        ):
            arguments = ["-o", rows, "--timeline", timeline, "--model", tiny_model_dir]
            result = invoke("score", recordings, *arguments)
            self._assert_refused(result, told)
        assert not rows.exists()

    def test_a_timeline_that_cannot_be_written_leaves_the_output_that_was_to_be_replaced(
        self,
        invoke: Invoke,
        recordings: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        rows, folder = tmp_path / "rows.csv", tmp_path / "folder.csv"
        rows.write_text("precious")
        folder.mkdir()
        arguments = ["score", recordings, "-o", rows, "--overwrite", "--timeline"]
        result = invoke(*arguments, tmp_path / "nowhere" / "t.csv")
        self._assert_refused(result, "does not exist: make it first")
        self._assert_refused(invoke(*arguments, folder), "is a folder")
        # Root may write everything, so the operating system's answer is made up.
        access = os.access
        monkeypatch.setattr(
            os,
            "access",
            lambda path, mode, **options: mode != os.W_OK and access(path, mode, **options),
        )
        self._assert_refused(invoke(*arguments, tmp_path / "t.csv"), "may not be written")
        assert rows.read_text() == "precious"

    @pytest.mark.parametrize("way", ["path", "list", "listed", "linked"])
    def test_an_output_that_is_read(
        self, invoke: Invoke, recordings: Path, tmp_path: Path, way: str
    ) -> None:
        manifest, link = tmp_path / "m.jsonl", tmp_path / "link.jsonl"
        manifest.write_text(json.dumps({"audio_path": str(recordings / "00.wav")}) + "\n")
        link.symlink_to(manifest)
        names = tmp_path / "names.txt"
        names.write_text(f"{recordings / '01.wav'}\n{link if way == 'linked' else manifest}\n")
        given = {"path": [manifest], "list": ["--files-from", manifest]}
        before = manifest.read_bytes()
        for output in (["-o", manifest], ["--timeline", manifest]):
            result = invoke(
                "score", *given.get(way, ["--files-from", names]), *output, "--overwrite"
            )
            self._assert_refused(result, "is what is to be read; name another output")
        assert manifest.read_bytes() == before

    def test_no_such_device(self, invoke: Invoke, recordings: Path) -> None:
        result = invoke("score", recordings, "--device", "abacus")
        self._assert_refused(result, "no such device 'abacus'")
        result = invoke("score", recordings, "--device", "cuda:99")
        self._assert_refused(result, "no device 'cuda:99': PyTorch sees")

    @pytest.mark.parametrize("device", ["meta", "xla", "hpu", "mps"])
    def test_a_device_that_holds_nothing_is_told_in_a_line(
        self, invoke: Invoke, recordings: Path, device: str
    ) -> None:
        if device == "mps" and torch.backends.mps.is_available():
            pytest.skip("it is there")
        result = invoke("score", recordings, "--device", device)
        self._assert_refused(result, f"no device '{device}' here: ")
        # Usage, a hint to --help and a frame around the message.
        assert len(result.stderr.splitlines()) <= 6

    def test_output_that_exists(
        self, invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "rows.csv").write_text("precious")
        args = [recordings, "--model", tiny_model_dir, "-o", tmp_path / "rows.csv"]
        self._assert_refused(invoke("score", *args), "exists: go on with --resume")
        self._assert_refused(invoke("score", *args, "--resume"), "other columns")
        assert (tmp_path / "rows.csv").read_text() == "precious"

    def test_resume_with_other_metrics(
        self, invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
    ) -> None:
        args = [recordings / "00.wav", "--model", tiny_model_dir, "-o", tmp_path / "rows.csv"]
        assert invoke("score", *args).exit_code == 0
        result = invoke("score", *args, "--metrics", "mos", "--resume")
        self._assert_refused(result, "other columns than this run", "same metrics")

    def test_resume_with_another_precision(
        self, invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
    ) -> None:
        args = [recordings / "00.wav", "--model", tiny_model_dir, "-o", tmp_path / "rows.csv"]
        assert invoke("score", *args, "--precision", "bfloat16").exit_code == 0
        assert _read(tmp_path / "rows.csv")[0]["model"].endswith("+bfloat16")
        result = invoke("score", *args, "--resume")
        self._assert_refused(result, "+bfloat16, this run uses")


def test_failed_rows_are_tried_again_on_resume(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    args = ["score", recordings, "--model", tiny_model_dir, "-o", tmp_path / "rows.csv"]
    assert invoke(*args).exit_code == 1
    (recordings / "03.wav").write_bytes((recordings / "04.wav").read_bytes())
    result = invoke(*args, "--resume")
    assert result.exit_code == 0
    assert "resuming: 29 rows kept, 1 to do" in result.stderr
    rows = _read(tmp_path / "rows.csv")
    assert [row["status"] for row in rows] == ["ok"] * 30
    assert rows[3]["mos"] == rows[4]["mos"]


def test_rows_that_a_spreadsheet_saved_are_gone_on_with(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    args = ["--model", tiny_model_dir, "-o", output]
    assert invoke("score", recordings / "00.wav", recordings / "01.wav", *args).exit_code == 0
    output.write_bytes(b"\xef\xbb\xbf" + output.read_bytes().replace(b"\n", b"\r\n"))
    result = invoke("score", recordings / "01.wav", recordings / "02.wav", *args, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "resuming: 2 rows kept, 1 to do" in result.stderr
    assert [Path(row["path"]).stem for row in _read(output)] == ["00", "01", "02"]
    # Written anew, and not with two ends of lines in one file.
    assert b"\r" not in output.read_bytes()


def test_a_second_run_on_the_same_output_is_refused(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path, spawn: Spawn
) -> None:
    output = tmp_path / "rows.csv"
    args = ["score", recordings, "--model", tiny_model_dir, "-o", output]
    with spawn(*args, signum=signal.SIGSTOP, row=2) as first:
        while not output.exists() or output.read_bytes().count(b"\n") < 3:
            assert first.poll() is None
            time.sleep(0.01)
        result = invoke(*args, "--resume")
        first.send_signal(signal.SIGCONT)
        first.communicate()
    assert result.exit_code == 2
    assert "another run is writing" in result.stderr
    assert first.returncode == 1
    assert len(_read(output)) == 30


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_killed_at_any_moment_and_resumed_the_rows_are_those_of_one_run(
    invoke: Invoke,
    recordings: Path,
    tiny_model_dir: Path,
    tmp_path: Path,
    spawn: Spawn,
    suffix: str,
) -> None:
    output = tmp_path / f"rows.{suffix}"
    args = ["score", recordings, "--model", tiny_model_dir]
    # While scoring; while the 13 scored rows are put aside; while they are being copied back.
    for row, num_rows in ((14, 14), (7, 14), (13 + 7, 7)):
        with spawn(*args, "-o", output, "--resume", signum=signal.SIGKILL, row=row) as process:
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert len(_any_rows(output)) == num_rows
    assert invoke(*args, "-o", output, "--resume").exit_code == 1
    whole = tmp_path / f"whole.{suffix}"
    assert invoke(*args, "-o", whole).exit_code == 1
    _assert_same(_any_rows(output), _any_rows(whole))
    assert sorted(path.name for path in tmp_path.glob("rows*")) == [output.name]


def test_ctrl_c_keeps_finished_rows_and_is_status_130(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tmp_path: Path, spawn: Spawn
) -> None:
    output = tmp_path / "rows.csv"
    args = ["score", recordings, "--model", tiny_model_dir, "-o", output]
    with spawn(*args, signum=signal.SIGINT, row=5) as process:
        _, stderr = process.communicate()
    assert process.returncode == 130
    assert b"interrupted; what was written so far is kept" in stderr
    assert b"Traceback" not in stderr
    assert len(_read(output)) == 5
    assert invoke(*args, "--resume").exit_code == 1
    assert len(_read(output)) == 30


@pytest.mark.parametrize("suffix", ["csv", "parquet", "html"])
def test_a_stopped_run_says_where_its_rows_are_and_that_resume_goes_on(
    invoke: Invoke,
    recordings: Path,
    tiny_model_dir: Path,
    tmp_path: Path,
    spawn: Spawn,
    suffix: str,
) -> None:
    output = tmp_path / f"rows.{suffix}"
    part = output if suffix == "csv" else tmp_path / f"rows.{suffix}.part.jsonl"
    args = ["score", recordings, "--model", tiny_model_dir, "-o", output]
    with spawn(*args, signum=signal.SIGINT, row=5) as process:
        _, stderr = process.communicate()
    assert f"5 rows are in {str(part)!r}; --resume goes on\n" in stderr.decode()
    assert "resuming: 4 rows kept" in invoke(*args, "--resume").stderr
    assert part.exists() == (part == output)
    # What is there whole is to be replaced: its rows are none of this run's.
    with spawn(*args, "--overwrite", signum=signal.SIGINT, row=5) as process:
        _, stderr = process.communicate()
    assert f"5 rows are in {str(part)!r}; --resume goes on\n" in stderr.decode()
    assert "resuming: 4 rows kept" in invoke(*args, "--resume").stderr


def test_a_reader_that_closes_the_pipe_ends_the_run_with_a_message(
    recordings: Path, tiny_model_dir: Path, spawn: Spawn
) -> None:
    args = ["score", recordings, "--model", tiny_model_dir, "--format", "csv"]
    with spawn(*args, signum=signal.SIGSTOP, row=0) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        process.stdout.close()
        process.send_signal(signal.SIGCONT)
        stderr = process.stderr.read()
        assert process.wait() == 1
    assert b"the reader of the output closed it" in stderr
    assert b"Traceback" not in stderr


def test_an_output_that_may_not_grow_keeps_whole_rows_and_says_so(
    recordings: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    arguments = ["score", recordings, "--model", tiny_model_dir, "-o", output]
    command = shlex.join(map(str, [sys.executable, "-m", "urgentmos", *arguments]))
    limited = ["sh", "-c", f"ulimit -f 2; {command}"]
    done = subprocess.run(limited, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{output}: a file may not become larger here; the rows written so" in done.stderr
    assert 0 < len(_read(output)) < 30
    assert output.read_bytes().endswith(b"\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_ends_the_run_with_a_message(
    recordings: Path, tiny_model_dir: Path
) -> None:
    command = [sys.executable, "-c", "from urgentmos.cli import main; main()"]
    arguments = ["score", str(recordings / "00.wav"), "--model", str(tiny_model_dir)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "urgentmos: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_library_gives_the_rows_of_the_command_line(
    invoke: Invoke, recordings: Path, tiny_model_dir: Path, tiny_assessor: object
) -> None:
    result = invoke("score", recordings, "--model", tiny_model_dir)
    lines = list(csv.DictReader(result.stdout.splitlines()))
    rows = list(score_files(tiny_assessor, [recordings]))  # type: ignore[arg-type]
    metrics = list(rows[0].scores)
    records = [row.to_record(metrics) for row in rows]
    texts = [{k: "" if v is None else str(v) for k, v in record.items()} for record in records]
    _assert_same(lines, texts)


def _any_rows(path: Path) -> Rows:
    if path.suffix == ".csv":
        return _read(path)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: "" if v is None else str(v) for k, v in record.items()} for record in records]
