"""Pairs that were rated as pairs, from their file to the loss."""

import json
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from urgentmos.config import ConfigError, from_dict, to_dict
from urgentmos.data.manifest import ManifestError
from urgentmos.data.sampler import Progress
from urgentmos.model.checkpoint import load_model
from urgentmos.training.config import RunConfig
from urgentmos.training.trainer import Trainer

from .conftest import MakeRun

CMOS = [1.0, -1.0, 0.0]


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def pair_manifest(manifest: Path, tmp_path: Path) -> Path:
    """Three pairs of one content at different strengths of noise."""
    path = tmp_path / "pairs.jsonl"
    clips = [str(manifest.parent / f"0_{step}.wav") for step in range(3)]
    members = [(clips[0], clips[1]), (clips[2], clips[0]), (clips[1], clips[2])]
    lines = [
        {"audio_paths": pair, "metrics": {"mos_overall": cmos}, "durations": [0.4, 0.4]}
        for pair, cmos in zip(members, CMOS, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_whether_a_file_holds_verdicts_is_decided_file_by_file(
    make_run: MakeRun, pair_manifest: Path, tmp_path: Path
) -> None:
    graded = tmp_path / "graded.jsonl"
    lines = [json.loads(line) for line in pair_manifest.read_text().splitlines()]
    for line, cmos in zip(lines, (1.0, -2.5, 0.5), strict=True):
        line["metrics"]["mos_overall"] = cmos
    graded.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {"pair_manifests": [str(pair_manifest), str(graded)], "pairs": {}, "delta": 1.0}
    trainer = Trainer(make_run(data=data))
    targets = []
    for batch in trainer._batches(Progress()):
        targets += zip(batch.cmos.tolist(), batch.preference.tolist(), strict=True)
        if batch.after.epoch == 1:
            break
    verdicts, scores = [(-1.0, -1), (0.0, 0), (1.0, 1)], [(-2.5, -1), (0.5, 0), (1.0, 0)]
    assert sorted(targets) == sorted(verdicts + scores)


def test_a_run_on_native_pairs_learns_the_targets_of_the_file(
    make_run: MakeRun, pair_manifest: Path
) -> None:
    run = make_run(data={"pair_manifests": [str(pair_manifest)], "pairs": {}}, steps=3)
    trainer = Trainer(run)
    recordings = trainer.corpus.train.recordings
    assert len(recordings) == 9 + 2 * len(CMOS)
    targets = []
    for batch in trainer._batches(Progress()):
        targets += zip(batch.cmos.tolist(), batch.preference.tolist(), strict=True)
        # Members have no label of their own.
        assert batch.labels[batch.pairs.flatten()].isnan().all()
        if batch.after.epoch == 1:
            break
    assert sorted(targets) == [(-1.0, -1), (0.0, 0), (1.0, 1)]
    before = [p.detach().clone() for p in trainer.network.preference.parameters()]
    trainer.train()
    after = list(trainer.network.preference.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    card = load_model(Path(run.output) / "final").card
    assert card["native_pairs"] == len(CMOS)


def test_other_ratings_of_the_same_pairs_are_another_corpus(
    make_run: MakeRun, pair_manifest: Path
) -> None:
    run = make_run(data={"pair_manifests": [str(pair_manifest)]})
    first = Trainer(run).corpus.digest
    pair_manifest.write_text(pair_manifest.read_text().replace("-1.0", "0.25"))
    AcceleratorState._reset_state(reset_partial_state=True)
    assert Trainer(run).corpus.digest != first


def test_pairs_without_an_objective_that_learns_from_them_are_refused(make_run: MakeRun) -> None:
    plain = to_dict(make_run(data={"pair_manifests": ["pairs.jsonl"]}))
    plain["model"]["preference"] = None
    plain["objectives"]["preference"] = 0.0
    with pytest.raises(ConfigError, match="pair_manifests would not be learned from"):
        from_dict(RunConfig, plain, where="run")


def test_a_recording_paired_with_itself_is_refused_with_its_line(
    make_run: MakeRun, pair_manifest: Path
) -> None:
    line = json.loads(pair_manifest.read_text().splitlines()[0])
    line["audio_paths"][1] = line["audio_paths"][0]
    pair_manifest.write_text(json.dumps(line) + "\n")
    with pytest.raises(ManifestError, match=r"pairs\.jsonl:1: .*paired with itself"):
        Trainer(make_run(data={"pair_manifests": [str(pair_manifest)]}))
