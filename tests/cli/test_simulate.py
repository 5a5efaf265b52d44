import json

import pytest
import yaml
from typer.testing import CliRunner

from urgentmos.cli import build_app
from urgentmos.simulate import tools
from urgentmos.simulate.config import DEFAULT_WEIGHTS
from urgentmos.simulate.kinds import DISTORTIONS


@pytest.fixture
def run():
    app = build_app(["simulate"])
    return lambda *arguments: CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def test_list_names_every_kind_and_what_it_needs(run):
    result = run("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(DISTORTIONS)
    assert "ffmpeg/libopus" in result.stdout


@pytest.fixture
def without_packages(monkeypatch):
    """An installation without the packages of the extra ``simulate``."""
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    tools._available.cache_clear()
    yield
    tools._available.cache_clear()


@pytest.mark.usefixtures("without_packages")
def test_kinds_whose_packages_are_missing_are_named_or_left_out(run, material, tmp_path):
    assert "world                 pyworld — not installed" in run("--list").stdout
    kinds = "weights={mnru: 1.0, log_mmse: 1.0, world: 1.0}"
    given = [kinds, "shares.synthesised=0.0", "--speech", material / "speech"]
    result = run(*given, "-o", tmp_path / "out", "--recordings", 4)
    assert result.exit_code == 2
    assert "log_mmse needs scipy; world needs pyworld. Install Python packages" in result.stderr
    assert "pip install 'urgentmos[simulate]'" in result.stderr
    result = run("skip_missing=true", *given, "-o", tmp_path / "out", "--recordings", 4)
    assert result.exit_code == 0, result.output
    assert "left out: world, which needs pyworld" in result.stderr


def test_folders_are_enough_to_simulate(run, material, tmp_path):
    config = tmp_path / "config.yaml"
    settings = {
        "weights": {"recorded_noise": 1.0, "measured_room": 1.0},
        "shares": {"synthesised": 0.0},
    }
    config.write_text(yaml.safe_dump(settings))
    folders = ["--speech", material / "speech", "--noise", material / "noise"]
    result = run(
        config, "crops=1", *folders, "--rir", material / "rir", "-o", tmp_path / "out",
        "--recordings", 3, "--seed", 4,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "speaker" not in result.stderr
    rows = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert len(rows) == 3
    settings = json.loads((tmp_path / "out" / "simulation.json").read_text())
    assert (settings["seed"], settings["crops"]) == (4, 1)


def test_a_flat_folder_is_split_file_by_file_and_this_is_said(run, material, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (material / "speech").rglob("*.wav"):
        (flat / f"{path.parent.name}_{path.name}").symlink_to(path)
    changes = ["weights={mnru: 1.0}", "shares.synthesised=0.0", "validation_share=0.4"]
    result = run(*changes, "--speech", flat, "-o", tmp_path / "out", "--recordings", 12)
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    metas = [json.loads(line)["meta"] for line in lines]
    sides = {"train": set(), "validation": set()}
    for meta in metas:
        sides[meta["split"]].add(meta["utterance"])
    assert all(sides.values())
    assert not sides["train"] & sides["validation"]
    count = sum(meta["split"] == "validation" for meta in metas)
    assert f"manifest.jsonl, {count} of them for validation" in result.stderr
    assert "that of one speaker (flat), so it is split file by file" in result.stderr


def test_the_folder_one_is_in_has_its_name(run, material, tmp_path, monkeypatch):
    monkeypatch.chdir(material / "speech" / "speaker0")
    rows = []
    for number, folder in enumerate((".", "../speaker0", "..")):
        out = tmp_path / str(number)
        given = ["--speech", folder, "-o", out, "--recordings", 1]
        result = run("weights={mnru: 1.0}", "shares.synthesised=0.0", *given)
        assert result.exit_code == 0, result.output
        assert ("that of one speaker (speaker0)" in result.stderr) == (number < 2)
        rows.append(json.loads((out / "manifest.jsonl").read_text())["meta"])
    assert (rows[0]["speaker"], rows[0]["source"]) == ("speaker0", "speaker0")
    assert rows[0]["utterance"] == rows[1]["utterance"]
    assert rows[2]["utterance"].startswith("speech/speaker")


def test_what_is_too_short_or_cannot_be_split_is_told(run, material, tmp_path):
    (tmp_path / "speech").mkdir()
    for take in range(2):
        recording = material / "speech" / "speaker0" / f"{take}.wav"
        (tmp_path / "speech" / recording.name).symlink_to(recording)
    options = ["--speech", tmp_path / "speech", "-o", tmp_path / "out", "--recordings", 1]
    result = run("weights={mnru: 1.0}", "shares.synthesised=0.0", "min_seconds=3", *options)
    assert result.exit_code == 0, result.output
    assert "no speech is kept for validation" in result.stderr
    assert "left out: 1 of 2 files of speech, shorter than 3 s (min_seconds)" in result.stderr


def test_what_a_manifest_keeps_for_testing_is_left_out_and_this_is_said(run, material, tmp_path):
    rows = [
        {
            "path": str(path), "kind": "clean", "speaker": path.parent.name,
            "split": "test" if path.parent.name == "speaker0" else "train",
        }
        for path in sorted((material / "speech").rglob("*.wav"))
    ]  # fmt: skip
    manifest = tmp_path / "material.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = ["weights={mnru: 1.0}", "shares.synthesised=0.0", f"manifest={manifest}"]
    result = run(*changes, "-o", tmp_path / "out", "--recordings", 40)
    assert result.exit_code == 0, result.output
    assert "material.jsonl: 2 kept for testing (split)" in result.stderr
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    speakers = {json.loads(line)["meta"]["speaker"] for line in lines}
    assert speakers
    assert "speaker0" not in speakers


def test_the_default_mixture_can_be_changed_without_a_file(run, material, tmp_path):
    changes = ["weights={mnru: 1.0}", "shares.synthesised=0.0", "crops=1"]
    options = ["--speech", material / "speech", "-o", tmp_path / "out", "--recordings", 1]
    result = run(*changes, *options)
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "out" / "simulation.json").read_text())
    assert (settings["weights"], settings["crops"]) == ({"mnru": 1.0}, 1)
    assert run("no.yaml", *options).exit_code == 2


def test_a_single_weight_is_changed_among_the_default_ones(run, material, tmp_path):
    options = ["--speech", material / "speech", "-o", tmp_path / "out", "--recordings", 1]
    given = ["skip_missing=true", "shares.synthesised=0.0", "weights.mnru=3"]
    result = run(*given, "weights.hum=0", *options)
    assert result.exit_code == 0, result.output
    weights = json.loads((tmp_path / "out" / "simulation.json").read_text())["weights"]
    assert (weights["mnru"], weights["echo"]) == (3.0, DEFAULT_WEIGHTS["echo"])
    assert "hum" not in weights


def test_kinds_without_material_can_be_left_out_as_the_message_says(run, material, tmp_path):
    options = ["--speech", material / "speech", "-o", tmp_path / "out", "--recordings", 1]
    config = tmp_path / "config.yaml"
    config.write_text("weights: {recorded_noise: 1, mnru: 1}\nshares: {synthesised: 0}\n")
    result = run(config, *options)
    assert result.exit_code == 2
    assert result.stderr.endswith("or a weight of 0, as extra_weights.recorded_noise=0\n")
    for key in ("extra_weights", "weights"):
        result = run(config, f"{key}.recorded_noise=0", *options)
        assert result.exit_code == 0, result.output


def test_missing_speech_is_wrong_usage(run, tmp_path):
    # Nothing here needs a program, so speech is all that is missing.
    config = tmp_path / "config.yaml"
    config.write_text("weights: {recorded_noise: 1.0}\nshares: {synthesised: 0.0}\n")
    result = run(config, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "no clean speech was given: name a folder of it with --speech" in result.stderr
