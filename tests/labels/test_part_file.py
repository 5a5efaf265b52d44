import os
from pathlib import Path

import pytest

from urgentmos.labels.part_file import PartFile, PartFileError
from urgentmos.labels.worker import Outcome

TOOLS = {"lsd": "one"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.part.jsonl"


def _write(path: Path, *outcomes: Outcome) -> None:
    with PartFile(path, tools=TOOLS) as part:
        for outcome in outcomes:
            part.append(outcome)


def test_gives_back_what_was_appended(path: Path) -> None:
    first = Outcome("a:1", {"lsd": 0.1 + 0.2}, {"mcd": "naïve\u2028reason"})
    _write(path, first)
    with PartFile(path, tools=TOOLS) as part:
        assert part.outcomes == {"a:1": first}


def test_a_name_that_is_not_unicode_is_kept_and_gone_on_with(path: Path) -> None:
    first = Outcome(os.fsdecode(b"caf\xe9:1"), {"lsd": 0.5}, {"mcd": os.fsdecode(b"caf\xe9.wav")})
    _write(path, first)
    with PartFile(path, tools=TOOLS) as part:
        assert part.outcomes == {first.uid: first}


def test_a_later_value_replaces_an_earlier_failure(path: Path) -> None:
    _write(path, Outcome("a", {"lsd": 1.0}, {"mcd": "no"}), Outcome("a", {"mcd": 2.0}))
    with PartFile(path, tools=TOOLS) as part:
        assert part.outcomes["a"] == Outcome("a", {"lsd": 1.0, "mcd": 2.0})


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_cut_off_last_line_is_dropped_and_written_over(path: Path, cut: int) -> None:
    kept, lost = Outcome("kept", {"lsd": 1.0}), Outcome("lost", {"lsd": 2.0})
    _write(path, kept, lost)
    path.write_bytes(path.read_bytes()[:-cut])
    with PartFile(path, tools=TOOLS) as part:
        assert part.outcomes == {"kept": kept}
        part.append(lost)
    with PartFile(path, tools=TOOLS) as part:
        assert part.outcomes == {"kept": kept, "lost": lost}


def test_another_version_of_a_tool_is_refused(path: Path) -> None:
    _write(path, Outcome("a", {"lsd": 1.0}))
    with pytest.raises(PartFileError, match="lsd from 'one', this run has 'two'"):
        PartFile(path, tools={"lsd": "two"})


def test_what_is_known_of_other_inputs_is_replaced(path: Path) -> None:
    new = Outcome("a", {"lsd": 2.0}, inputs="b.wav 7")
    _write(path, Outcome("a", {"lsd": 1.0, "mcd": 3.0}, inputs="a.wav 5"), new)
    with PartFile(path, tools=TOOLS) as part:
        assert part.outcomes["a"] == new


def test_another_label_may_join(path: Path) -> None:
    _write(path, Outcome("a", {"lsd": 1.0}))
    with PartFile(path, tools={"mcd": "three"}) as part:
        assert part.outcomes["a"].metrics == {"lsd": 1.0}
    with pytest.raises(PartFileError, match="mcd from 'three'"):
        PartFile(path, tools={"mcd": "four"})


def test_a_broken_line_in_the_middle_is_named(path: Path) -> None:
    _write(path, Outcome("a", {"lsd": 1.0}))
    path.write_text("{broken\n" + path.read_text())
    with pytest.raises(PartFileError, match=r"part\.jsonl:1: not JSON"):
        PartFile(path, tools=TOOLS)


@pytest.mark.parametrize("line", [b"5", b'{"tools": 5}', b'{"uid": "a", "metric": {}}'])
def test_a_line_of_something_else_is_named(path: Path, line: bytes) -> None:
    path.write_bytes(line + b"\n")
    with pytest.raises(PartFileError, match=r"part\.jsonl:1: damaged"):
        PartFile(path, tools=TOOLS)


def test_a_file_that_is_not_text_is_named(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(PartFileError, match=r"part\.jsonl: damaged"):
        PartFile(path, tools=TOOLS)
