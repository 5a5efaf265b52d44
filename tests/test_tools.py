"""The tools of those who work on the project, as far as they are not run by ``tools/check``."""

import subprocess
import sys
from pathlib import Path

_TOOLS = Path(__file__).resolve().parent.parent / "tools"


def test_a_metric_that_is_none_is_wrong_usage_of_measure_responses() -> None:
    command = [sys.executable, _TOOLS / "measure_responses.py", "--metrics", "mos, nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown metric 'nonsense'" in done.stderr
    assert "Traceback" not in done.stderr
