"""The tools of those who work on the project, as far as they are not run by ``tools/check``."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_TOOLS = _ROOT / "tools"


def test_a_metric_that_is_none_is_wrong_usage_of_measure_responses() -> None:
    command = [sys.executable, _TOOLS / "measure_responses.py", "--metrics", "mos, nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown metric 'nonsense'" in done.stderr
    assert "Traceback" not in done.stderr


def test_optimised_samples_have_a_higher_mos_for_a_change_that_is_small() -> None:
    for package in ("distillmos", "onnxruntime", "speechmos"):
        pytest.importorskip(package)
    recording = _ROOT / "recipes" / "demo" / "recordings" / "codec.flac"
    options = ["--steps", "5", "--seconds", "1"]
    command = [sys.executable, _TOOLS / "optimise_samples.py", recording, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name, before, after, change, *measured = done.stdout.splitlines()[-1].split()
    assert name == "codec.flac"
    assert float(after) > float(before) + 0.2
    assert float(change) < -40
    assert len(measured) == 4


@pytest.mark.parametrize("tool", ["benchmark_training", "parity_with_public_code"])
def test_what_is_no_clone_of_the_public_code_is_told_before_anything_is_run(
    tool: str, tmp_path: Path
) -> None:
    command = [sys.executable, _TOOLS / f"{tool}.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path} is not the clone asked for: it has no folder urgent_mos" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("batch", "0"), ("seconds", "-1"), ("steps", "3"), ("score", "0"), ("threads", "0")],
)
def test_a_number_that_cannot_be_is_wrong_usage_of_benchmark_training(
    option: str, value: str, tmp_path: Path
) -> None:
    (tmp_path / "urgent_mos").mkdir()
    command = [sys.executable, _TOOLS / "benchmark_training.py", tmp_path, f"--{option}", value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"--{option}: expected" in done.stderr


def test_utilisation_is_told_of_devices_whose_peak_is_known() -> None:
    place = _TOOLS / "benchmark_training.py"
    spec = importlib.util.spec_from_file_location("benchmark_training", place)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    peak = tool.PEAK_TFLOPS["NVIDIA H200", "bfloat16"]
    assert tool.utilisation(4e12, 100.0, peak) == pytest.approx(400 / 989)
    assert ("NVIDIA H100 PCIe", "bfloat16") not in tool.PEAK_TFLOPS
