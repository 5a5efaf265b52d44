import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import urgentmos
from urgentmos.cli import COMMANDS, build_app

_ROOT = Path(__file__).resolve().parent.parent.parent


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from urgentmos.cli import main\n"
        "sys.argv = ['urgentmos', '--help']\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'soundfile', 'soxr', 'tqdm', 'transformers', 'yaml', 'scipy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout


def test_only_the_command_that_is_called_is_imported() -> None:
    code = (
        "import sys\n"
        "from urgentmos.cli import main\n"
        "sys.argv = ['urgentmos', 'compare', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('urgentmos.cli.')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert "urgentmos.cli.compare" in done.stdout
    assert "urgentmos.cli.score" not in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    (command,) = build_app([name]).registered_commands
    assert command.name == name
    assert command.callback is not None
    assert command.callback.__doc__


def test_the_version_is_given_without_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "urgentmos", "--version"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"urgentmos {urgentmos.__version__}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["score", "-h"], []], ids=str)
def test_a_full_disk_behind_stdout_is_told_in_words(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "urgentmos", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=_ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "urgentmos: No space left on device\n")


def test_a_version_that_nobody_reads_ends_with_a_message() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "urgentmos", "--version"]
    done = subprocess.run(
        command, cwd=_ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == "stopped: the reader of the output closed it\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_caller_closed_stops_nothing(
    tmp_path: Path, tiny_model_dir: Path, speech: Callable[..., np.ndarray], closed: str
) -> None:
    soundfile.write(tmp_path / "a.wav", speech(0.5, seed=0), 16000)
    rows = tmp_path / "rows.csv"
    command = [sys.executable, "-m", "urgentmos", "score", tmp_path / "a.wav", "-o", rows]
    line = shlex.join(map(str, [*command, "--model", tiny_model_dir]))
    done = subprocess.run(["sh", "-c", f"{line} {closed}"], cwd=_ROOT, check=False)
    assert done.returncode == 0
    assert len(rows.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "arguments",
    [["score", "--help"], ["score", "voz_ñ.wav", "--format", "table"]],
    ids=["help", "table"],
)
def test_what_the_encoding_of_stdout_lacks_is_escaped(
    tiny_model_dir: Path, arguments: list[str]
) -> None:
    model = [] if "--help" in arguments else ["--model", str(tiny_model_dir)]
    done = subprocess.run(
        [sys.executable, "-m", "urgentmos", *arguments, *model],
        cwd=_ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert ("\\u2026" if "--help" in arguments else "voz_\\xf1.wav") in done.stdout


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_waiting_threads_give_up_the_processor_soon_unless_told_otherwise(
    stated: dict[str, str], expected: str
) -> None:
    program = (
        "import os, sys\n"
        "from urgentmos.cli import main\n"
        "sys.argv = ['urgentmos', '--help']\n"
        "try:\n    main()\n"
        "finally:\n    print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)\n"
    )
    inherited = {k: v for k, v in os.environ.items() if "GOMP" not in k and "OMP_WAIT" not in k}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=inherited | stated, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"{expected} False"
