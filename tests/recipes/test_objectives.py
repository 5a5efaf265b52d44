"""The comparison of objectives: what is compared, and what the tables say of it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from urgentmos.config import load_config
from urgentmos.correlation import srcc
from urgentmos.scoring import score_files
from urgentmos.training.config import RunConfig

from .conftest import load_script

RunRecipe = Callable[..., list[str]]

RECIPE = Path(__file__).parents[2] / "recipes" / "objectives"


def _overrides() -> dict[str, list[str]]:
    """What ``run`` changes in the configuration, by objective."""
    script = (RECIPE / "run").read_text()
    found = {name: text.split() for name, text in re.findall(r"\[(\w+)\]='(.*)'", script)}
    head = re.search(r"^head='(.*)'$", script, re.MULTILINE)
    assert head is not None
    return {name: [*changes, head[1]] if "objectives.preference=0.3" in changes else changes
            for name, changes in found.items()}  # fmt: skip


@pytest.fixture
def report() -> ModuleType:
    return load_script("objectives/report.py")


@pytest.fixture
def runs(tmp_path: Path, tiny_model_dir: Path) -> Path:
    """Runs of two objectives and two seeds, all ending in the same model."""
    folder = tmp_path / "runs"
    for number, name in enumerate(("mse_0", "mse_1", "default_mix_0", "default_mix_1")):
        run = folder / name
        run.mkdir(parents=True)
        shutil.copytree(tiny_model_dir, run / "final")
        figures = {
            "lcc/mos": 0.5 + number / 10,
            "srcc/mos": 0.6,
            "pair_accuracy/ref": 0.7,
            "pair_accuracy/strength": 0.8,
        }
        if name.startswith("default_mix"):
            figures |= {"compare_accuracy/ref": 0.9, "compare_accuracy/strength": 1.0}
        (run / "run.json").write_text('{"data_digest": "same"}')
        (run / "history.jsonl").write_text(f'{{"lcc/mos": 0}}\n{json.dumps(figures)}\n')
    return folder


@pytest.fixture
def listening(tmp_path: Path, speech) -> Path:
    """Two contents, each in three levels of noise."""
    generator = np.random.default_rng(0)
    lines = []
    for content in range(2):
        clean = speech(seconds=0.5, seed=content)
        for system, noise in enumerate((0.0, 0.05, 0.3)):
            name = f"{system}_{content}.wav"
            noisy = clean + noise * generator.standard_normal(len(clean))
            soundfile.write(tmp_path / name, noisy.clip(-1, 1), 16000)
            line = {
                "audio_path": name, "uid": f"{system}:{content}", "system_id": str(system),
                "reference_id": str(content), "duration": 0.5, "rating": 4.0 - system,
                "corpus": "noisy",
            }  # fmt: skip
            lines.append(json.dumps(line))
    manifest = tmp_path / "listening.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def test_objectives_differ_in_what_acts_on_mos_and_leave_the_rest_its_share() -> None:
    configs = {
        name: load_config(RunConfig, RECIPE / "config.yaml", overrides)
        for name, overrides in _overrides().items()
    }
    assert set(configs) == {
        "mse", "bradley_terry", "qamro", "default_mix", "default_mix_qamro", "corpus_bias",
    }  # fmt: skip
    for name in ("mse", "bradley_terry", "qamro"):
        objectives, metrics = configs[name].objectives, configs[name].model.metrics
        weights = {metric: objectives.metric_weights.get(metric, 1.0) for metric in metrics}
        share = objectives.absolute / sum(weights.values())
        assert share * (sum(weights.values()) - weights["mos"]) == pytest.approx(0.7)
        acting = {
            "mse": share * weights["mos"],
            "bradley_terry": objectives.bradley_terry,
            "qamro": objectives.qamro,
        }
        assert acting == pytest.approx({n: 0.3 if n == name else 0.0 for n in acting})
        assert configs[name].model.preference is None
    mix = configs["default_mix"]
    assert configs["corpus_bias"].objectives == replace(mix.objectives, corpus_bias=0.1)
    assert configs["default_mix_qamro"].objectives == replace(mix.objectives, qamro=0.3)
    assert configs["corpus_bias"].model == configs["default_mix_qamro"].model == mix.model
    assert (mix.objectives.absolute, mix.objectives.preference) == (0.7, 0.3)
    assert mix.model.preference is not None
    assert {c.model.metrics == mix.model.metrics and c.data == mix.data
            and c.steps == mix.steps and c.optimizer == mix.optimizer
            for c in configs.values()} == {True}  # fmt: skip


def test_an_interval_over_three_seeds_is_students(report: ModuleType) -> None:
    interval = report.over_seeds([1.0, 2.0, 3.0])
    # Standard error 1/√3, 97.5 % quantile of t with two degrees of freedom 4.303.
    assert (interval.value, interval.low) == (2.0, pytest.approx(2.0 - 4.303 / 3**0.5))
    assert interval.high - interval.value == pytest.approx(interval.value - interval.low)


def test_as_many_seeds_as_one_likes_have_an_interval(report: ModuleType) -> None:
    interval = report.over_seeds([1.0, 3.0] * 10)
    # 97.5 % quantile of t with 19 degrees of freedom 2.093.
    assert interval.high - 2.0 == pytest.approx(2.093 / 19**0.5, abs=1e-3)


def test_the_last_validation_is_averaged_over_seeds(report: ModuleType, runs: Path) -> None:
    figures, gains = report.validation_tables(report.find_runs(runs))
    by_objective = {row["objective"]: row for row in figures.rows}
    assert list(by_objective) == ["mse", "default_mix", "default_mix, compare"]
    assert by_objective["mse"]["LCC"].value == pytest.approx(0.55)
    assert by_objective["default_mix, compare"]["pairs of one family"].value == 1.0
    (mix, compared) = gains.rows
    # Seed by seed the gain is 0.2, although the seeds differ.
    assert [mix["LCC"].low, mix["LCC"].high] == pytest.approx([0.2, 0.2])
    assert compared["pairs of one content"].value == pytest.approx(0.2)


def test_a_figure_that_a_run_has_none_of_is_none(report: ModuleType, runs: Path) -> None:
    history = runs / "mse_0" / "history.jsonl"
    history.write_text(history.read_text().replace('"srcc/mos": ', '"srcc/mos": null, "x": '))
    figures, _ = report.validation_tables(report.find_runs(runs))
    row = next(row for row in figures.rows if row["objective"] == "mse")
    assert np.isnan(row["SRCC"].value)
    assert row["LCC"].value == pytest.approx(0.55)


def test_the_same_models_agree_with_listeners_alike(
    report: ModuleType, runs: Path, listening: Path, tiny_assessor
) -> None:
    corpora = report.read_rated_corpora(listening)
    figures, gains = report.listening_tables(report.find_runs(runs), corpora)
    by_objective = {row["objective"]: row for row in figures.rows}
    mse, mix = by_objective["mse"], by_objective["default_mix"]
    assert "SRCC" not in by_objective["default_mix, compare"]
    paths = [recording.audio_path for recording in corpora[0].recordings]
    scores = np.array([row.scores["mos"] for row in score_files(tiny_assessor, paths)])
    assert mse["SRCC"].value == mix["SRCC"].value == pytest.approx(srcc(corpora[0].ratings, scores))
    gain = gains.rows[0]
    assert [gain[c].value for c in ("LCC", "SRCC", "pairs")] == [0.0, 0.0, 0.0]
    assert gain["pairs"].low == gain["pairs"].high == 0.0


def test_unequal_seeds_are_refused(report: ModuleType, runs: Path) -> None:
    shutil.rmtree(runs / "default_mix_1")
    with pytest.raises(ValueError, match="finish the runs first"):
        report.find_runs(runs)


def test_runs_on_different_data_are_refused(report: ModuleType, runs: Path) -> None:
    (runs / "mse_1" / "run.json").write_text('{"data_digest": "another"}')
    with pytest.raises(ValueError, match="mse_1 was trained on other data"):
        report.find_runs(runs)


@pytest.fixture
def run_recipe(tmp_path: Path) -> RunRecipe:
    """Call ``run`` with stand-ins for the programs: the command lines that it gives them."""
    commands, log = tmp_path / "bin", tmp_path / "log"
    commands.mkdir()
    for name in ("urgentmos", "python"):
        (commands / name).write_text(f'#!/bin/sh\necho "{name} $@" >> {log}\n')
        (commands / name).chmod(0o755)

    def run(runs: Path, *objectives: str) -> list[str]:
        subprocess.run(
            [RECIPE / "run", "t.jsonl", "c.cache", "l.jsonl", runs, *objectives],
            check=True,
            env={"PATH": f"{commands}:{os.environ['PATH']}"},
        )
        return log.read_text().splitlines()

    return run


def test_finished_runs_are_skipped_and_stopped_ones_resumed(
    tmp_path: Path, run_recipe: RunRecipe
) -> None:
    runs = tmp_path / "runs"
    for seed in range(3):
        for name in ("bradley_terry", "qamro"):
            (runs / f"{name}_{seed}" / "final").mkdir(parents=True)
    *trained, reported = run_recipe(runs)
    assert len(trained) == 12
    assert all("train --resume " in line for line in trained)
    assert all("data.manifests=[t.jsonl] data.cache=c.cache" in line for line in trained)
    assert reported.endswith(f"l.jsonl {runs} --output {RECIPE}/results")


def test_objectives_can_be_named(tmp_path: Path, run_recipe: RunRecipe) -> None:
    *trained, _ = run_recipe(tmp_path / "runs", "default_mix_qamro", "corpus_bias")
    assert [line.split("output=")[1].split("/")[-1] for line in trained] == [
        f"{name}_{seed}" for seed in range(3) for name in ("default_mix_qamro", "corpus_bias")
    ]
    assert all("model.preference={group" in line for line in trained)
    with pytest.raises(subprocess.CalledProcessError):
        run_recipe(tmp_path / "runs", "qamo")
