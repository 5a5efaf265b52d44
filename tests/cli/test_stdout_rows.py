import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from urgentmos.cli import stdout_rows
from urgentmos.cli.stdout_rows import StdoutRows


def test_names_that_break_a_line_are_escaped_for_a_person() -> None:
    assert stdout_rows.printable("a\nb\x1b[31m\udcff音.wav") == "a\\nb\\x1b[31m\\udcff音.wav"


def _header(numbers: Sequence[Sequence[str]]) -> None:
    rows = StdoutRows(columns={}, inputs=[], stdout_format="table", numbers=numbers, names=["path"])
    assert list(rows.merge(iter([]))) == []


def test_a_terminal_shows_what_fits_and_tells_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    # 9 columns each, beside the 30 of the path.
    _header([["mos"], ["pesq"], ["estoi"], ["a", "b", "c"], ["d"]])
    out, err = capsys.readouterr()
    assert out.split() == ["mos", "pesq", "estoi", "path"]
    assert err == "not shown: a, b, c, d; the terminal is too narrow, --format csv has all\n"
    _header([list("abcdefghij")])
    out, err = capsys.readouterr()
    assert (out.split(), err) == ([*"abcdefghij", "path"], "")


@pytest.mark.parametrize(
    ("command", "columns", "shown", "told"),
    [
        (["score"], 40, ["mos", "path"], "not shown: pesq, sdr, lsd, estoi, lps;"),
        (["score", "--metrics", "pesq,estoi"], 40, ["pesq", "estoi", "path"], ""),
        # Wide enough for one of the two MOS.
        (
            ["compare", "--format", "table"],
            80,
            ["p_a", "p_tie", "p_b", "cmos", "verdict", "a", "b"],
            "not shown: mos_a, mos_b;",
        ),
    ],
    ids=["score", "metrics", "compare"],
)
def test_what_was_asked_for_and_both_of_a_pair_are_shown_on_a_narrow_terminal_or_told(
    command: list[str],
    columns: int,
    shown: list[str],
    told: str,
    recordings: Path,
    tiny_model_dir: Path,
) -> None:
    paths = [recordings / "00.wav", recordings / "01.wav"]
    terminal, end = os.openpty()
    run = subprocess.run(
        [sys.executable, "-m", "urgentmos", *command, *paths, "--model", tiny_model_dir],
        env={**os.environ, "COLUMNS": str(columns), "OMP_NUM_THREADS": "1"},
        stdout=end,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    os.close(end)
    header = os.read(terminal, 1 << 16).decode().splitlines()[0]
    os.close(terminal)
    assert header.split() == shown
    assert run.stderr.count("not shown") == (1 if told else 0)
    assert told in run.stderr


def test_what_is_no_terminal_shows_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    _header([[name] for name in "abcdefghij"])
    out, err = capsys.readouterr()
    assert (out.split(), err) == ([*"abcdefghij", "path"], "")
