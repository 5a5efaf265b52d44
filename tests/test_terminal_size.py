import ast
import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from urgentmos import terminal_size
from urgentmos.terminal_size import bar_size

SHOWS_A_BAR = (
    "from urgentmos.cli.progress import track\n"
    "list(track(range(3), total=3, rows_on_stdout=False))\n"
)


def _state(terminal: int, *, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@pytest.mark.parametrize(
    ("columns", "lines", "given"),
    [(0, 0, {"ncols": 80, "nrows": 24}), (0, 50, {"ncols": 80, "nrows": 24}), (132, 50, {})],
)
def test_a_size_is_given_where_the_terminal_states_none(
    monkeypatch: pytest.MonkeyPatch, columns: int, lines: int, given: dict[str, int]
) -> None:
    terminal, end = os.openpty()
    _state(end, columns=columns, lines=lines)
    with os.fdopen(end, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        assert bar_size() == given
    os.close(terminal)


def test_where_stderr_is_no_terminal_or_is_none_tqdm_decides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        assert bar_size() == {}
    assert bar_size() == {}  # closed
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    assert bar_size() == {}


@pytest.mark.parametrize(("columns", "lines"), [(0, 0), (60, 24)])
def test_a_bar_is_shown_on_a_terminal_that_states_no_size_too(columns: int, lines: int) -> None:
    terminal, end = os.openpty()
    _state(end, columns=columns, lines=lines)
    subprocess.run([sys.executable, "-c", SHOWS_A_BAR], stderr=end, check=True)
    os.close(end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert "3/3" in shown
    assert max(map(len, shown.splitlines())) <= (columns or 80)


def test_every_bar_is_given_that_size() -> None:
    calls = [
        node
        for path in sorted(Path(terminal_size.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "tqdm"
    ]
    assert len(calls) >= 6
    given = [ast.unparse(call.keywords[-1].value) for call in calls]
    assert set(given) == {"bar_size()", "size"}
