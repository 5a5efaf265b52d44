"""What README.md says is what is there: tables, commands, tests it names, snippets."""

import ast
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from urgentmos import load
from urgentmos.audio import read_audio
from urgentmos.cli import COMMANDS
from urgentmos.data.manifest import read_manifest
from urgentmos.metrics import METRICS
from urgentmos.model import checkpoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIMITS = " ".join(README.partition("## Limits\n")[2].partition("\n## ")[0].split())
DEMO = ROOT / "recipes" / "demo" / "recordings"
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_metrics_table_is_that_of_the_package() -> None:
    section = README.partition("## Metrics\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, flags=re.MULTILINE)
    table = {name: cells.split(" | ") for name, cells in rows if name in METRICS}
    expected = {
        metric.name: [
            metric.title,
            metric.unit,
            f"{_bound(metric.low)}…{_bound(metric.high)}",
            "higher" if metric.higher_is_better else "lower",
            metric.group,
            "reference" if metric.needs_reference else "",
        ]
        for metric in METRICS.values()
    }
    assert table == expected
    assert list(table) == list(expected)


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _listening_summary() -> list[dict[str, Any]]:
    path = ROOT / "recipes" / "listening" / "results" / "results.json"
    summary: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["Summary"]
    return summary


def test_the_table_of_listening_tests_is_what_the_recipe_measured() -> None:
    section = README.partition("## How well it does\n")[2].partition("\n### ")[0]
    header = next(line for line in section.splitlines() if line.startswith("| listening test"))
    predictors = [cell.strip() for cell in header.split("|")[3:-1]]
    corpus, checked = "", 0
    measured = {(row["corpus"], row["predictor"]): row for row in _listening_summary()}
    for line in section.splitlines():
        if not re.match(r"\|.*\| (SRCC|pairs) \|", line):
            continue
        name, figure, *cells = (cell.strip() for cell in line.split("|")[1:-1])
        corpus = corpus if not name else name.partition("(")[2].rstrip(")")
        for predictor, cell in zip(predictors, cells, strict=True):
            row = measured[corpus, predictor]
            value = row["SRCC"] if figure == "SRCC" else row["acc_0 compare"] or row["acc_0 score"]
            assert cell == f"{value:.3f}".lstrip("0"), (corpus, predictor, figure)
            checked += 1
    assert checked == 3 * 2 * len(predictors)


@pytest.mark.parametrize("name", ["default", "accurate"])
def test_a_model_card_has_the_figures_of_the_listening_tests(name: str) -> None:
    card = ROOT / "urgentmos" / "weights" / name / "model_card.json"
    assert json.loads(card.read_text(encoding="utf-8"))["listening"] == _listening_summary()


def _responses(model: str, *names: str) -> dict[str, dict[str, tuple[float, float]]]:
    """The mean and the largest change (in % of the range) of each metric, by what was changed."""
    tool = runpy.run_path(str(ROOT / "tools" / "measure_responses.py"))
    changes = tool["changes"]()
    assessor = load(model)
    metrics = ["mos", "pesq", "sdr", "lsd", "dnsmos_bak"]
    recordings = [read_audio(path).waveform for path in sorted(DEMO.glob("*.flac"))]
    assert len(recordings) == 5
    unchanged = tool["score"](assessor, recordings, metrics)
    ranges = np.array([METRICS[metric].scale for metric in metrics])
    responses = {}
    for name in names:
        moved = tool["score"](assessor, list(map(changes[name], recordings)), metrics) - unchanged
        largest = 100 * (np.abs(moved) / ranges).max(axis=0)
        responses[name] = dict(
            zip(metrics, zip(moved.mean(axis=0), largest, strict=True), strict=True)
        )
    return responses


def test_the_limits_have_the_figures_of_the_default_model() -> None:
    moved = _responses(
        "default",
        "polarity",
        "cut, 5 ms",
        *(f"gain {db} dB, 16 bit" for db in (-20, -40)),
        *(f"clipped at -{db} dB" for db in (6, 10, 15, 20)),
        *(f"room, {seconds} s around" for seconds in (1, 5)),
    )
    polarity, cut = moved["polarity"], moved["cut, 5 ms"]
    assert (
        f"by up to {polarity['mos'][1]:.0f} % of the range in `mos` and {polarity['pesq'][1]:.0f} "
        "% in `pesq`. Without their first 5 ms (so that all frames lie elsewhere) they move by up "
        f"to {cut['mos'][1]:.0f} % and {cut['pesq'][1]:.0f} %, and by {cut['sdr'][1]:.0f} % in "
        "`sdr`."
    ) in LIMITS
    lower, lowest = moved["gain -20 dB, 16 bit"], moved["gain -40 dB, 16 bit"]
    assert (
        f"by up to {lower['mos'][1]:.0f} % of the range in `mos` and {lower['pesq'][1]:.0f} % in "
        f"`pesq`, but {lower['lsd'][1]:.0f} % in `lsd`; stored 40 dB lower, by "
        f"{lowest['mos'][1]:.0f}, {lowest['pesq'][1]:.0f} and {lowest['lsd'][1]:.0f} %."
    ) in LIMITS
    mos, pesq = (
        [f"{-moved[f'clipped at -{db} dB'][metric][0]:.2f}" for db in (6, 10, 15, 20)]
        for metric in ("mos", "pesq")
    )
    assert (
        f"costs {', '.join(mos[:3])} and {mos[3]} of `mos` on average, and {', '.join(pesq[:3])} "
        f"and {pesq[3]} of `pesq`."
    ) in LIMITS
    room, longer = moved["room, 1 s around"], moved["room, 5 s around"]
    assert (
        f"raises `mos` by {room['mos'][0]:.2f} and `dnsmos_bak` by {room['dnsmos_bak'][0]:.2f} on "
        f"average and lowers `pesq` by {-room['pesq'][0]:.2f}, five seconds lower `mos` by "
        f"{-longer['mos'][0]:.2f}."
    ) in LIMITS


def test_the_limits_have_the_figures_of_the_accurate_model() -> None:
    pytest.importorskip("distillmos", exc_type=ImportError)
    moved = _responses("accurate", "polarity", "cut, 5 ms")
    mos, pesq = (max(moved[name][metric][1] for name in moved) for metric in ("mos", "pesq"))
    assert f"move by up to {mos:.0f} % in `mos` and {pesq:.0f} % in `pesq`." in LIMITS


@pytest.mark.skipif(tomllib is None, reason="the standard library reads TOML from Python 3.11 on")
def test_the_extras_table_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    section = README.split("## Install")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == list(
        project["optional-dependencies"]
    )


def test_the_manifest_it_shows_is_read(tmp_path: Path) -> None:
    (line,) = re.findall(r"```\n(\{\"audio_path\".*?)\n```", README, flags=re.DOTALL)
    (tmp_path / "manifest.jsonl").write_text(line.replace("\n", ""), encoding="utf-8")
    (recording,) = read_manifest(tmp_path / "manifest.jsonl")
    assert recording.metrics.keys() == {"mos", "pesq"}
    assert recording.meta["reference_path"] == str(tmp_path / "clean" / "1.wav")


def test_every_command_is_mentioned_and_every_mentioned_one_exists() -> None:
    mentioned = set(re.findall(r"(?:^|`)urgentmos ([a-z][a-z-]+)", README, flags=re.MULTILINE))
    assert mentioned == set(COMMANDS)


def test_every_promise_names_a_test_that_exists() -> None:
    promised = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", README)
    assert len(promised) > 10
    for file, name in promised:
        functions = [
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef)
        ]
        assert name in functions, f"{file} has no {name}"


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


# Lightning and transformers warn of their own doings, such as deprecated calls of torch.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_run(
    snippet: str, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in re.findall(r"^import (\w+)", snippet, flags=re.MULTILINE):
        pytest.importorskip(package)
    shutil.copytree(tiny_model_dir, tmp_path / "weights" / "default")
    monkeypatch.setattr(checkpoint, "_SHIPPED", tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(scale=0.1, size=16000)
    for name in ("a.wav", "b.wav"):
        soundfile.write(name, noise, 16000)
    exec(compile(snippet, "README.md", "exec"), {})
