"""What the recipe simulates: with its networks, or without them what a table has labels of."""

import csv
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from .conftest import RECIPES, load_script

pytest.importorskip("scipy", exc_type=ImportError)

CONFIG = """
num_recordings: 30
weights: {mnru: 1.0, babble: 1.0, network_enhancement_small: 2.0, network_vocoder_mel40: 2.0}
shares: {clean: 1.0, processed: 0.0, synthesised: 0.0}
num_distortions: [0.0, 0.6, 0.4, 0.0]
crop_seconds: [1.0, 1.2]
validation_share: 0.4
"""


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPES / "default")
    return load_script("default/simulate.py")


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two networks as they are before training."""
    from safetensors.torch import save_file

    monkeypatch.syspath_prepend(RECIPES / "default")
    import networks

    folder = tmp_path / "networks"
    folder.mkdir()
    for name in ("enhancement_small", "vocoder_mel40"):
        network = networks.SpectralNetwork(networks.NETWORKS[name])
        save_file(network.state_dict(), folder / f"{name}@100.safetensors")
    return folder


@pytest.fixture
def sources(material: Path, tmp_path: Path) -> Path:
    """A list as prepare.py writes it."""
    kinds = {"speech": "clean", "noise": "noise", "rir": "rir"}
    lines = []
    for folder, kind in kinds.items():
        for number, path in enumerate(sorted((material / folder).rglob("*.wav"))):
            split = "validation" if number % 3 == 0 else "train"
            relative = str(path.relative_to(material))
            lines.append({"path": relative, "kind": kind, "split": split, "speaker": relative})
    listed = tmp_path / "sources.jsonl"
    listed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "simulate.yaml").write_text(CONFIG)
    return listed


def _rows(
    simulate: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    sources: Path,
    material: Path,
    *options: str,
) -> dict[str, dict[str, object]]:
    output = sources.with_name("made" + "".join(options[::2]).replace("--", "_"))
    config = sources.with_name("simulate.yaml")
    arguments = [sources, "--audio", material, "--output", output, "--config", config]
    monkeypatch.setattr(sys, "argv", ["simulate.py", *map(str, arguments), *options])
    simulate.main()
    lines = (output / "manifest.jsonl").read_text().splitlines()
    assert not (output / "failed.jsonl").read_text()
    rows = {row["uid"]: row for row in map(json.loads, lines)}
    return {
        uid: row | {"audio": (output / row["audio_path"]).read_bytes()} for uid, row in rows.items()
    }


def test_what_has_labels_is_made_again_without_the_networks_and_is_the_same(
    simulate: ModuleType,
    networks: Path,
    sources: Path,
    material: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = _rows(simulate, monkeypatch, sources, material, "--networks", str(networks))
    assert len(first) == 30
    labelled = list(first)[::2]
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as lines:
        csv.writer(lines).writerows([("uid", "pesq"), *((uid, 2.5) for uid in labelled)])

    options = ("--only-labelled", str(table), "--split", "validation")
    again = _rows(simulate, monkeypatch, sources, material, *options)
    expected = {
        uid: first[uid]
        for uid in labelled
        if first[uid]["meta"]["split"] == "validation" and "network" not in uid
    }
    assert expected
    assert len(expected) < sum("network" not in uid for uid in labelled)
    assert any("network" in uid for uid in labelled)
    assert again == expected


def test_networks_are_asked_for_where_nothing_else_chooses(
    simulate: ModuleType,
    sources: Path,
    material: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        _rows(simulate, monkeypatch, sources, material)
    assert "--networks is needed" in capsys.readouterr().err


def test_without_networks_their_recordings_are_left_out(
    simulate: ModuleType,
    networks: Path,
    sources: Path,
    material: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = _rows(simulate, monkeypatch, sources, material, "--networks", str(networks))
    without = _rows(simulate, monkeypatch, sources, material, "--without-networks")
    assert without == {uid: row for uid, row in everything.items() if "network" not in uid}
    assert 0 < len(without) < len(everything)
