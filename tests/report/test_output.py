import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from urgentmos.file_lock import FileLockedError
from urgentmos.report.output import _RENDERED, RowOutput, WriteMode
from urgentmos.report.parquet import read_parquet
from urgentmos.report.row_file import (
    OutputError,
    Record,
    RowFile,
    Value,
    read_records,
    streamed_format,
)
from urgentmos.report.whole_report import whole_report

INPUTS = [f"{name}.wav" for name in "abcdef"]
SUFFIXES = (".csv", ".jsonl", ".parquet")


class Killed(BaseException):
    """What no cleaning up sees."""


def _row(path: str, *, status: str = "ok", model: str = "m+1", mos: float = 3.0) -> Record:
    failed = status == "failed"
    return {
        "path": path,
        "status": status,
        "error": "no such file" if failed else "",
        "duration_s": None if failed else 1.5,
        "channels": None if failed else 1,
        "model": model,
        "mos": None if failed else mos,
    }


class Run:
    """Runs on one output, each scoring what is missing."""

    def __init__(self, path: Path, columns: dict[str, type]) -> None:
        self.path = path
        self.columns = columns
        self.scored: list[str] = []

    def __call__(
        self,
        *,
        mode: WriteMode = "new",
        failing: str = "",
        inputs: list[str] = INPUTS,
        model: str = "m+1",
        stop_after: int | None = None,
        error: type[BaseException] = KeyboardInterrupt,
    ) -> None:
        self.scored = []
        output = RowOutput(self.path, columns=self.columns, inputs=inputs, model=model, mode=mode)
        if error is Killed:
            self._fill(output, failing, model, stop_after)
            output._file.close()
            output._kept.close()
            return
        with output:
            self._fill(output, failing, model, stop_after)
            if stop_after is not None:
                raise error

    def rows(self) -> list[dict[str, Value]]:
        if self.path.suffix == ".parquet":
            return list(read_parquet(self.path, self.columns))
        return list(read_records(self.path, self.columns, streamed_format(self.path)))

    def _fill(self, output: RowOutput, failing: str, model: str, stop_after: int | None) -> None:
        written = output.merge(self._score(output.missing, failing, model))
        for number, _ in enumerate(written, start=1):
            if number == stop_after:
                return

    def _score(self, paths: list[str], failing: str, model: str) -> Iterator[Record]:
        for path in paths:
            self.scored.append(path)
            yield _row(path, status="failed" if path[0] in failing else "ok", model=model)


@pytest.fixture(params=SUFFIXES)
def run(request: pytest.FixtureRequest, tmp_path: Path, columns: dict[str, type]) -> Run:
    if request.param == ".parquet":
        pytest.importorskip("pyarrow", exc_type=ImportError)
    return Run(tmp_path / f"rows{request.param}", columns)


WHOLE = [_row(path) for path in INPUTS]


def test_rows_are_written_in_the_order_of_the_inputs(run: Run) -> None:
    run()
    assert run.rows() == WHOLE
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]


def test_a_complete_output_is_resumed_to_itself_whatever_its_names(run: Run) -> None:
    inputs = ["a.wav", "b\udcff.wav", "b\\xff.txt"]
    run(inputs=inputs)
    before = run.rows()
    run(mode="resume", inputs=inputs)
    assert run.scored == []
    assert run.rows() == before


def test_failed_rows_are_tried_again_and_the_others_kept(run: Run) -> None:
    run(failing="be")
    assert [row["status"] for row in run.rows()] == ["ok", "failed", "ok", "ok", "failed", "ok"]
    run(mode="resume", failing="e")
    assert run.scored == ["b.wav", "e.wav"]
    run(mode="resume")
    assert run.scored == ["e.wav"]
    assert run.rows() == WHOLE
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]


def test_a_resumed_run_that_has_nothing_to_do_changes_nothing(run: Run) -> None:
    run()
    run(mode="resume")
    assert run.scored == []
    assert run.rows() == WHOLE


def test_resume_without_an_earlier_run_is_a_run(run: Run) -> None:
    run(mode="resume")
    assert run.rows() == WHOLE


@pytest.mark.parametrize("first", range(1, 6))
@pytest.mark.parametrize("second", range(1, 6))
def test_killed_twice_and_resumed_is_as_if_never_killed(run: Run, first: int, second: int) -> None:
    run(failing="b", stop_after=first, error=Killed)
    run(mode="resume", stop_after=second, error=Killed)
    done_twice = set(run.scored)
    run(mode="resume")
    assert run.rows() == WHOLE
    assert not done_twice & set(run.scored), "a row that was finished is not done again"
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]


@pytest.mark.parametrize("stop_after", range(1, 6))
def test_an_interrupted_resume_keeps_every_finished_row(run: Run, stop_after: int) -> None:
    run(failing="a")
    with pytest.raises(KeyboardInterrupt):
        run(mode="resume", stop_after=stop_after)
    if run.path.suffix != ".parquet":
        assert run.rows() == WHOLE, "kept rows that were not reached are there"
    run(mode="resume")
    assert run.scored == []
    assert run.rows() == WHOLE


def test_rows_of_recordings_not_asked_for_are_kept(run: Run) -> None:
    run(failing="b")
    run(mode="resume", inputs=["x.wav", "c.wav"])
    assert run.scored == ["x.wav"]
    assert {row["path"] for row in run.rows()} == {*INPUTS, "x.wav"}
    assert len(run.rows()) == 7
    run(mode="resume", inputs=INPUTS)
    assert run.scored == ["b.wav"]


def test_an_interrupted_resume_for_fewer_inputs_keeps_every_finished_row(run: Run) -> None:
    run()
    with pytest.raises(KeyboardInterrupt):
        run(mode="resume", inputs=["x.wav", "c.wav", "e.wav"], stop_after=1)
    run(mode="resume", inputs=[*INPUTS, "x.wav"])
    assert run.scored == []
    assert sorted(str(row["path"]) for row in run.rows()) == [*INPUTS, "x.wav"]


def test_what_is_refused_before_the_first_row_is_asked_for_changes_nothing(run: Run) -> None:
    run(failing="b")
    before = run.path.read_bytes()
    modes: tuple[WriteMode, ...] = ("resume", "overwrite")
    for mode in modes:
        output = RowOutput(run.path, columns=run.columns, inputs=INPUTS, model="m+1", mode=mode)
        assert output.scored == ({*INPUTS} - {"b.wav"} if mode == "resume" else set())
        with pytest.raises(OutputError, match="refused"), output:
            raise OutputError("refused")
        assert run.path.read_bytes() == before
        assert list(run.path.parent.iterdir()) == [run.path]


def test_a_refusal_after_a_kill_keeps_every_finished_row(run: Run) -> None:
    run(failing="b")
    run(mode="resume", stop_after=1, error=Killed)
    output = RowOutput(run.path, columns=run.columns, inputs=INPUTS, model="m+1", mode="resume")
    with pytest.raises(OutputError, match="refused"), output:
        raise OutputError("refused")
    run(mode="resume")
    assert run.scored == ["b.wav"]
    assert run.rows() == WHOLE


def test_a_resume_that_is_interrupted_while_it_begins_keeps_every_row(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RowFile, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(mode="resume", inputs=["x.wav", "c.wav"])
    run(mode="resume")
    assert run.scored == []
    assert run.rows() == WHOLE


def test_another_model_or_version_is_refused(run: Run) -> None:
    run(failing="b")
    before = run.path.read_bytes()
    with pytest.raises(OutputError, match=r"comes from model\+version m\+1, this run uses n\+1"):
        run(mode="resume", model="n+1")
    assert run.path.read_bytes() == before
    assert list(run.path.parent.iterdir()) == [run.path]


def test_other_metrics_are_refused(run: Run) -> None:
    run()
    before = run.path.read_bytes()
    run.columns = {**run.columns, "pesq": float}
    with pytest.raises(OutputError, match=r"other columns than this run.*same metrics"):
        run(mode="resume")
    assert run.path.read_bytes() == before


def test_an_existing_output_is_not_written_over(run: Run) -> None:
    run()
    with pytest.raises(OutputError, match="exists: go on with --resume"):
        run()
    run(mode="overwrite", failing="c")
    assert run.scored == INPUTS
    assert [row["status"] for row in run.rows()].count("failed") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, Killed])
def test_an_interrupted_overwrite_goes_on_with_its_own_rows(
    run: Run, error: type[BaseException]
) -> None:
    run(mode="new", inputs=[*INPUTS, "x.wav"])
    with contextlib.suppress(KeyboardInterrupt):
        run(mode="overwrite", model="n+1", failing="a", stop_after=3, error=error)
    # Killed once more while what was overwritten is still there.
    run(mode="resume", model="n+1", failing="a", stop_after=1, error=Killed)
    run(mode="resume", model="n+1")
    assert run.scored == ["a.wav", *INPUTS[3:]]
    assert run.rows() == [_row(path, model="n+1") for path in INPUTS]


@pytest.mark.parametrize("num_removed", [0, 1])
def test_a_run_that_is_killed_while_it_tidies_up_leaves_every_row(
    tmp_path: Path, columns: dict[str, type], monkeypatch: pytest.MonkeyPatch, num_removed: int
) -> None:
    pytest.importorskip("pyarrow", exc_type=ImportError)
    run, unlink, removed = Run(tmp_path / "rows.parquet", columns), Path.unlink, []

    def remove_or_die(path: Path, **options: bool) -> None:
        if path.suffix == ".jsonl":
            if len(removed) == num_removed:
                raise Killed
            removed.append(path)
        unlink(path, **options)

    run(failing="b")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", remove_or_die)
        with pytest.raises(Killed):
            run(mode="resume")
    run(mode="resume")
    assert run.scored == []
    assert run.rows() == WHOLE


def test_the_rows_of_a_killed_run_are_not_written_over(run: Run) -> None:
    run(stop_after=2, error=Killed)
    with pytest.raises(OutputError, match="exists: go on with --resume"):
        run()


def test_two_runs_on_one_output_are_refused(run: Run) -> None:
    with RowOutput(run.path, columns=run.columns, inputs=INPUTS, model="m+1") as output:
        for mode in ("resume", "overwrite"):
            with pytest.raises(FileLockedError, match="another run is writing"):
                run(mode=mode)
        list(output.merge(iter(WHOLE)))
    assert run.rows() == WHOLE


def test_a_run_that_ends_before_its_first_row_leaves_nothing_in_the_way(
    run: Run, columns: dict[str, type]
) -> None:
    output = RowOutput(run.path, columns=columns, inputs=INPUTS, model="m+1")
    with pytest.raises(KeyboardInterrupt), output:
        raise KeyboardInterrupt
    assert list(run.path.parent.iterdir()) == []
    run()
    assert run.scored == INPUTS


def test_a_run_on_no_input_leaves_a_table_without_rows(run: Run) -> None:
    run(inputs=[])
    assert run.rows() == []


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_stopped_a_run_is_told_and_not_the_full_disk_after_it(
    tmp_path: Path, columns: dict[str, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "rows.csv", columns)
    run(failing="a")
    with pytest.raises(KeyboardInterrupt):
        _stop_with_full_disk(run, monkeypatch)
    monkeypatch.undo()
    run(mode="resume")
    assert run.rows() == WHOLE


def _stop_with_full_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    output = RowOutput(run.path, columns=run.columns, inputs=INPUTS, model="m+1", mode="resume")
    with output:
        next(output.merge(iter(WHOLE)))
        monkeypatch.setattr(os, "write", _refuse)
        raise KeyboardInterrupt


def test_a_disk_that_is_full_when_rows_are_put_aside_is_told_with_the_file(
    tmp_path: Path, columns: dict[str, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "rows.csv", columns)
    with pytest.raises(KeyboardInterrupt):
        run(stop_after=2)
    monkeypatch.setattr(os, "fsync", _refuse)
    with pytest.raises(OSError, match=r"no space left; the rows .*rows\.csv\.kept\.jsonl"):
        run(mode="resume")
    monkeypatch.undo()
    run(mode="resume")
    assert run.scored == INPUTS[2:]


def test_a_disk_that_is_full_when_the_page_is_made_is_told_and_costs_no_row(
    tmp_path: Path, columns: dict[str, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "rows.html", columns)

    def render(path: Path, *_: object) -> None:
        with whole_report(path):
            _refuse()

    monkeypatch.setitem(_RENDERED, ".html", render)
    with pytest.raises(OSError, match=r"no space left; the rows .*rows\.html"):
        run()
    monkeypatch.undo()
    run(mode="resume")
    assert run.scored == []
    assert run.path.exists()


def test_an_unknown_suffix_is_refused(tmp_path: Path, columns: dict[str, type]) -> None:
    with pytest.raises(OutputError, match=r"one of \.csv, \.jsonl, \.parquet, \.html"):
        RowOutput(tmp_path / "rows.xls", columns=columns, inputs=[], model="m")


def test_a_page_that_was_to_be_replaced_is_not_in_the_way(
    tmp_path: Path, columns: dict[str, type]
) -> None:
    run = Run(tmp_path / "rows.html", columns)
    run()
    with pytest.raises(KeyboardInterrupt):
        run(mode="overwrite", stop_after=2)
    run(mode="resume")
    assert run.scored == INPUTS[2:]
    assert list(tmp_path.iterdir()) == [run.path]


def test_a_complete_page_cannot_be_resumed(tmp_path: Path, columns: dict[str, type]) -> None:
    path = tmp_path / "rows.html"
    with RowOutput(path, columns=columns, inputs=["a.wav"], model="m+1") as output:
        list(output.merge(iter([_row("a.wav")])))
    with pytest.raises(OutputError, match="cannot be read back"):
        RowOutput(path, columns=columns, inputs=["a.wav"], model="m+1", mode="resume")
    assert list(tmp_path.iterdir()) == [path]
