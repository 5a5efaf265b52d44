import errno
import json
import os
import shutil
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from urgentmos.cli import build_app
from urgentmos.config import ConfigError, save_config
from urgentmos.data.manifest import ManifestError, read_manifest, write_manifest
from urgentmos.data.sampler import Progress
from urgentmos.file_lock import FileLockedError, lock_folder
from urgentmos.model.checkpoint import load_model
from urgentmos.training.config import RunConfig
from urgentmos.training.run_folder import RunFolder
from urgentmos.training.run_state import RunStateError
from urgentmos.training.trainer import Trainer, TrainingError

from .conftest import (
    ALL_OBJECTIVES,
    MakeRun,
    TrainInTwoProcesses,
    loss_around_training,
    train_whole_and_in_parts,
)


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results to the bit are promised on CPU; accelerate keeps its state across trainers."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)


def weights(run: RunConfig) -> dict[str, torch.Tensor]:
    return load_file(Path(run.output) / "last" / "model.safetensors")


def test_four_steps_equal_two_and_two_after_a_restart_to_the_bit(
    make_run: MakeRun, tmp_path: Path
) -> None:
    whole, parts, _ = train_whole_and_in_parts(make_run, tmp_path)
    for file in ("model", "optimizer", "average", "random_0"):
        once, twice = (
            load_file(Path(run.output) / "last" / f"{file}.safetensors") for run in (whole, parts)
        )
        assert once.keys() == twice.keys()
        assert all(torch.equal(once[name], twice[name]) for name in once), file
    assert (tmp_path / "whole/last/state.json").read_text() == (
        tmp_path / "parts/last/state.json"
    ).read_text()


def test_the_number_of_workers_changes_no_batch(make_run: MakeRun, tmp_path: Path) -> None:
    alone = make_run(output=str(tmp_path / "0"))
    helped = make_run(output=str(tmp_path / "2"), data={"workers": 2})
    first, second = (list(islice(Trainer(r)._batches(Progress()), 4)) for r in (alone, helped))
    for a, b in zip(first, second, strict=True):
        assert a.after == b.after
        torch.testing.assert_close(a[:-1], b[:-1], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_recording_that_cannot_be_read_is_told_alike_by_any_number_of_workers(
    make_run: MakeRun, manifest: Path, tmp_path: Path, workers: int
) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["audio_path"] = str(manifest.parent / line["audio_path"])
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    lines[0]["audio_path"] = str(tmp_path / "broken.wav")
    (tmp_path / "broken.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {"manifests": [str(tmp_path / "broken.jsonl")], "workers": workers}
    with pytest.raises(ManifestError) as caught:
        Trainer(make_run(data=data)).train()
    (told,) = str(caught.value).splitlines()
    assert told.startswith(f"{tmp_path / 'broken.wav'}: cannot be used for training: ")


def test_it_learns_four_clips_by_heart(make_run: MakeRun, manifest: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    # Content 1 has every label; one clip of content 0 makes four.
    kept = [line for line in lines if line["reference_id"] in ("1", "3")] + lines[:1]
    for line in kept:
        line["audio_path"] = str(manifest.parent / line["audio_path"])
    (tmp_path / "four.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    run = make_run(
        steps=150,
        log_every=150,
        data={"manifests": [str(tmp_path / "four.jsonl")], "batch_seconds": 12.0},
        optimizer={"lr": 1e-2},
    )
    trainer = Trainer(run)
    assert len(trainer.corpus.train.recordings) == 4
    before = _absolute_loss(trainer)
    trainer.train()
    assert _absolute_loss(trainer) < 0.02 * before


def _absolute_loss(trainer: Trainer) -> float:
    batch = next(trainer._batches(Progress()))
    trainer._module.eval()
    with torch.no_grad():
        _, terms = trainer._module(batch)
    return float(terms["absolute"])


def test_a_run_leaves_a_model_that_loads_and_says_what_it_was_trained_on(
    make_run: MakeRun,
) -> None:
    run = make_run(steps=2, validate_every=1)
    Trainer(run).train()
    folder = Path(run.output)
    for name in ("best", "final"):
        scores = load_model(folder / name).score(np.zeros(8000, dtype=np.float32), 16000)
        assert set(scores) == set(run.model.metrics)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [point["step"] for point in history] == [1, 2]
    assert {"lcc/mos", "srcc/mos", "pair_accuracy/strength", "compare_accuracy/ref"} <= set(
        history[0]
    )
    record = json.loads((folder / "run.json").read_text())
    assert record["data_digest"]
    assert record["versions"]["torch"]
    assert list((folder / "curves").iterdir())
    assert load_model(folder / "final").card["labels_by_metric"]["pesq"] == 3


def test_a_killed_and_resumed_run_has_the_history_of_one_run(make_run: MakeRun) -> None:
    run = make_run(steps=3, validate_every=1)
    Trainer(run).train(until=1)
    history = Path(run.output) / "history.jsonl"
    # Validated once more after the checkpoint, and killed while writing the next line.
    history.write_text(history.read_text() + '{"step": 2, "lcc/mos": 0.5}\n{"step": 3, "lc')
    Trainer(run, resume=True).train()
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert "lcc/mean" in lines[1]


def test_a_kill_while_the_history_is_cut_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text('{"step": 1}\n{"step": 2}\n')
    before = history.read_text()

    def killed(path: Path, text: str, **keywords: str) -> None:
        path.write_bytes(b'{"st')
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path, write=True).cut_history(1)
    assert history.read_text() == before


def test_a_killed_and_resumed_run_has_the_curves_of_one_run(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(steps=3, log_every=1)
    last = Path(run.output) / "last"
    Trainer(run).train(until=1)
    shutil.copytree(last, tmp_path / "last")
    # TensorBoard reads the files in the order of their names, which have the second and then a
    # count without leading zeros: within one second the tenth comes before the ninth.
    time.sleep(1)
    # Killed after the second step, before its checkpoint.
    Trainer(run, resume=True).train(until=2)
    shutil.rmtree(last)
    (tmp_path / "last").rename(last)
    time.sleep(1)
    Trainer(run, resume=True).train()
    curves = EventAccumulator(str(Path(run.output) / "curves")).Reload()
    assert [point.step for point in curves.Scalars("train/loss")] == [1, 2, 3]


def test_the_spectra_of_references_are_learned_and_left_out_of_the_model(make_run: MakeRun) -> None:
    objectives = {"reference_spectra": 1.0, "absolute": 0.01, "preference": 0.5}
    run = make_run(steps=30, objectives=objectives)
    trainer = Trainer(run)
    batch = trainer._dataset[next(trainer._sampler.plans())]
    assert batch.reference is not None
    assert batch.reference.shape == batch.waveform.shape
    assert batch.reference.any(dim=1).all()
    before, after = loss_around_training(trainer, batch, "reference_spectra")
    assert after < 0.85 * before
    saved = load_file(Path(run.output) / "final/model.safetensors")
    assert not any("reference_spectra" in name or "filters" in name for name in saved)


def test_the_average_is_what_is_exported(make_run: MakeRun) -> None:
    run = make_run(steps=3, optimizer={"ema_decay": 0.5})
    trainer = Trainer(run)
    trainer.train()
    exported = load_model(Path(run.output) / "final")
    name, averaged = next(
        (n, a)
        for (n, p), a in zip(
            trainer.network.named_parameters(), trainer._average.average, strict=True
        )
        if p.ndim > 1
    )
    torch.testing.assert_close(dict(exported.network.named_parameters())[name], averaged)
    assert not torch.equal(averaged, dict(trainer.network.named_parameters())[name])


def test_bfloat16_follows_the_32_bit_loss(make_run: MakeRun, tmp_path: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        AcceleratorState._reset_state(reset_partial_state=True)
        trainer = Trainer(make_run(precision=precision, output=str(tmp_path / precision)))
        loss, _ = trainer._module(next(trainer._batches(Progress())))
        losses[precision] = float(loss.detach())
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def test_a_folder_with_a_run_is_not_written_over(make_run: MakeRun) -> None:
    run = make_run(steps=1)
    Trainer(run).train()
    with pytest.raises(RunStateError, match="already holds a run"):
        Trainer(run)
    shutil.rmtree(Path(run.output) / "last")
    with pytest.raises(RunStateError, match="already holds a final model"):
        Trainer(run)


def test_resuming_before_anything_was_saved_begins_anew(make_run: MakeRun, tmp_path: Path) -> None:
    whole, killed = (make_run(steps=1, output=str(tmp_path / name)) for name in ("a", "b"))
    Trainer(whole).train()
    for left in ("nothing", "a run killed at once", "a checkpoint without its counters"):
        if left == "a checkpoint without its counters":
            (Path(killed.output) / "last").mkdir()
        trainer = Trainer(killed, resume=True)
        assert trainer.begins_anew
        assert trainer.changes == []
    trainer.train()
    assert all(torch.equal(weights(whole)[name], each) for name, each in weights(killed).items())
    assert not Trainer(killed, resume=True).begins_anew


def test_a_run_that_a_full_disk_ended_at_once_begins_anew(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(steps=1)
    write_text = Path.write_text

    def full(self: Path, text: str, *args: Any, **options: Any) -> int:
        if not self.name.startswith("run.json"):
            return write_text(self, text, *args, **options)
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            Trainer(run)
    assert Trainer(run, resume=True).begins_anew


def test_the_command_says_that_a_resumed_run_begins_anew(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(steps=1)
    save_config(run, tmp_path / "run.yaml")
    arguments = ["train", str(tmp_path / "run.yaml"), "--resume"]
    result = CliRunner().invoke(build_app(["train"]), arguments)
    assert result.exit_code == 0, result.output
    assert f"nothing was saved in {run.output} yet: begins anew" in result.stderr
    result = CliRunner().invoke(build_app(["train"]), [*arguments, "steps=2"])
    assert result.exit_code == 0, result.output
    assert "begins anew" not in result.stderr


def test_the_command_says_of_which_weights_it_starts_only_where_it_uses_them(
    make_run: MakeRun, tmp_path: Path
) -> None:
    first = make_run(steps=1, output=str(tmp_path / "first"))
    Trainer(first).train()
    save_config(make_run(steps=1, start_from=f"{first.output}/final"), tmp_path / "run.yaml")
    arguments = ["train", str(tmp_path / "run.yaml"), "--resume"]
    begun = CliRunner().invoke(build_app(["train"]), arguments)
    resumed = CliRunner().invoke(build_app(["train"]), [*arguments, "steps=2"])
    assert (begun.exit_code, resumed.exit_code) == (0, 0)
    assert "started from" in begun.stderr
    assert "started from" not in resumed.stderr


def test_resuming_in_a_folder_of_other_files_writes_over_none(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(steps=1)
    folder = Path(run.output)
    Trainer(run)
    (tmp_path / "labels.csv").write_text("uid,mos\n0:0,1.0\n")
    relabelled = make_run(steps=1, data={"labels": [str(tmp_path / "labels.csv")]})
    with pytest.raises(RunStateError, match="data_digest was"):
        Trainer(relabelled, resume=True)
    (folder / "final").mkdir()
    with pytest.raises(RunStateError, match="a final model but nothing to resume from"):
        Trainer(run, resume=True)
    (folder / "final").rename(folder / "best")
    (folder / "run.json").unlink()
    with pytest.raises(RunStateError, match="models but no run"):
        Trainer(run, resume=True)


def test_another_run_is_kept_out_of_the_folder(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(steps=1)
    trainer = Trainer(run)
    began = (trainer.folder.path / "run.json").stat().st_mtime_ns
    with lock_folder(trainer.folder.path):
        for start in (lambda: Trainer(run), trainer.train):
            with pytest.raises(FileLockedError, match="another run is writing"):
                start()
    assert (trainer.folder.path / "run.json").stat().st_mtime_ns == began
    step = Trainer._step

    def refusing(self: Trainer, *args: Any) -> None:
        with pytest.raises(FileLockedError), lock_folder(self.folder.path):
            pass
        step(self, *args)

    monkeypatch.setattr(Trainer, "_step", refusing)
    export = Trainer._export
    exported = []

    def refusing_too(self: Trainer, name: str, *args: Any) -> None:
        with pytest.raises(FileLockedError), lock_folder(self.folder.path):
            pass
        exported.append(name)
        export(self, name, *args)

    monkeypatch.setattr(Trainer, "_export", refusing_too)
    assert trainer.train().step == 1
    assert "final" in exported


def test_one_of_several_processes_that_stays_alone_is_refused(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    run = make_run()
    with pytest.raises(TrainingError, match="one of 2 processes, but accelerate found it alone"):
        Trainer(run)
    assert not Path(run.output).exists()


def test_another_model_or_other_labels_are_not_resumed(make_run: MakeRun, tmp_path: Path) -> None:
    Trainer(make_run(steps=1)).train()
    (tmp_path / "labels.csv").write_text("uid,mos\n0:0,1.0\n")
    relabelled = make_run(steps=2, data={"labels": [str(tmp_path / "labels.csv")]})
    with pytest.raises(RunStateError, match="data_digest was"):
        Trainer(relabelled, resume=True)
    other = make_run(steps=2)
    other.model.groups["naturalness"].layers = 2
    with pytest.raises(RunStateError, match="another model"):
        Trainer(other, resume=True)
    # Whose weights have the same names.
    wider = make_run(steps=2)
    wider.model.groups["naturalness"].feedforward *= 2
    with pytest.raises(RunStateError, match="another model"):
        Trainer(wider, resume=True)


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimizer.safetensors"])
def test_a_damaged_checkpoint_is_refused_by_its_file(make_run: MakeRun, name: str) -> None:
    run = make_run(steps=1)
    Trainer(run).train()
    path = Path(run.output) / "last" / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RunStateError, match=f"{name} is damaged"):
        Trainer(run, resume=True)


@pytest.mark.parametrize(
    "content", [b"", b'{"x":', b"{}", b"[]", b'{"data_digest": 1}', b"\xff\xfe"]
)
def test_a_damaged_record_of_a_run_is_told_by_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    folder = RunFolder(tmp_path, write=True)
    with pytest.raises(RunStateError, match=r"run\.json is damaged: "):
        folder.is_resumable(digest="", num_processes=1)


@pytest.mark.parametrize(
    "line", [b"garb", b"{}", b"1", b'{"step": null}', b'{"step": "1"}', b'{"step": NaN}', b""]
)
def test_a_damaged_history_is_told_by_its_file_and_line(tmp_path: Path, line: bytes) -> None:
    history = tmp_path / "history.jsonl"
    whole = b'{"step": 1}\n' + line + b'\n{"step": 2}\n'
    history.write_bytes(whole)
    with pytest.raises(RunStateError, match=r"history\.jsonl is damaged: line 2 is no validation"):
        RunFolder(tmp_path, write=True).cut_history(1)
    assert history.read_bytes() == whole


def test_a_history_that_is_no_text_is_told_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(RunStateError, match=r"history\.jsonl is damaged: "):
        RunFolder(tmp_path, write=True).cut_history(1)


@pytest.mark.parametrize("name", ["run.json", "history.jsonl"])
def test_a_damaged_run_folder_does_not_resume(make_run: MakeRun, name: str) -> None:
    run = make_run(steps=2)
    Trainer(run).train(until=1)
    (Path(run.output) / name).write_text("garb\n")
    with pytest.raises(RunStateError, match=f"{name} is damaged"):
        Trainer(run, resume=True)


def test_a_loss_that_is_no_number_stops_the_run_with_its_step(make_run: MakeRun) -> None:
    trainer = Trainer(make_run())
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 2: loss nan"):
        trainer.train()


def test_spoilt_weights_do_not_replace_the_last_checkpoint(make_run: MakeRun) -> None:
    run = make_run(log_every=100)
    Trainer(run).train(until=1)
    trainer = Trainer(run, resume=True)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss nan"):
        trainer.train(until=2)
    assert all(bool(weight.isfinite().all()) for weight in weights(run).values())


def test_spoilt_weights_are_not_validated(make_run: MakeRun) -> None:
    run = make_run(validate_every=1, log_every=100, best_by="pair_accuracy/ref")
    trainer = Trainer(run)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 1: loss nan"):
        trainer.train()
    assert not (Path(run.output) / "best").exists()


def test_an_unknown_criterion_is_told_with_the_known_ones_before_any_step(
    make_run: MakeRun,
) -> None:
    with pytest.raises(ConfigError, match=r"best_by: .* got 'lcc/peqs'; .* compare_acc.*lcc/pesq"):
        Trainer(make_run(steps=1, best_by="lcc/peqs"))


def test_a_criterion_that_is_never_a_number_is_told_before_any_step(
    make_run: MakeRun, manifest: Path, tmp_path: Path
) -> None:
    recordings = read_manifest(manifest)
    held_out = [r for r in recordings if r.meta["split"] == "validation"]
    write_manifest(tmp_path / "one.jsonl", [r for r in recordings if r not in held_out[1:]])
    with pytest.raises(ConfigError, match=r"got 'lcc/mean'; it will have none\. A correlation"):
        Trainer(make_run(data={"manifests": [str(tmp_path / "one.jsonl")]}))


def test_another_criterion_forgets_the_best_of_the_first(make_run: MakeRun) -> None:
    run = make_run(steps=2, validate_every=1)
    Trainer(run).train()
    path = Path(run.output) / "last" / "state.json"
    # More than any correlation can be: compared with it, no later model would be the best.
    state = {**json.loads(path.read_text()), "best": 2.0}
    path.write_text(json.dumps(state))
    assert state["best_by"] == "lcc/mean"
    assert Trainer(make_run(steps=4), resume=True).state.best == 2.0
    resumed = Trainer(make_run(steps=4, best_by="lcc/mos"), resume=True)
    assert (resumed.state.best, resumed.state.best_step) == (None, 0)
    assert any("best_by" in change for change in resumed.changes)
    resumed.train()
    history = (Path(run.output) / "history.jsonl").read_text().splitlines()
    assert resumed.state.best == max(json.loads(line)["lcc/mos"] for line in history[2:])
    assert load_model(Path(run.output) / "best").card["step"] == resumed.state.best_step > 2
    # As written by versions that did not say which figure it was.
    state = json.loads(path.read_text())
    del state["best_by"]
    path.write_text(json.dumps(state))
    assert Trainer(make_run(steps=4), resume=True).state.best == state["best"]


def test_a_run_that_has_more_steps_than_asked_for_is_not_resumed_in_silence(
    make_run: MakeRun,
) -> None:
    Trainer(make_run(steps=3)).train()
    with pytest.raises(RunStateError, match=r"has done 3 steps and is to have 2: .*steps=3 or"):
        Trainer(make_run(steps=2), resume=True)
    assert Trainer(make_run(steps=3), resume=True).train().step == 3


def test_a_time_limit_stops_in_a_state_to_resume_from(make_run: MakeRun) -> None:
    run = make_run(steps=50, max_minutes=0.0)
    assert Trainer(run).train().step == 1
    run.max_minutes = None
    run.steps = 3
    resumed = Trainer(run, resume=True)
    assert resumed.changes == ["steps: 50 → 3", "max_minutes: 0.0 → None"]
    assert resumed.train().step == 3


def test_two_processes_have_the_gradient_of_one_with_the_same_global_batch(
    make_run: MakeRun, train_in_two_processes: TrainInTwoProcesses, tmp_path: Path
) -> None:
    # QAMRO ranks within a process, so it is not among the objectives.
    # Clipping would hide a wrong factor.
    options = {
        "steps": 1, "objectives": {**ALL_OBJECTIVES, "qamro": 0.0, "reference_spectra": 0.0},
        "optimizer": {"clip": 1e6},
    }  # fmt: skip
    one = make_run(output=str(tmp_path / "one"), data={"batch_seconds": 3.2}, **options)
    two = make_run(output=str(tmp_path / "two"), data={"batch_seconds": 1.6}, **options)
    Trainer(one).train()
    train_in_two_processes(two)
    alone, together = gradients(one), gradients(two)
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    assert largest > 1e-2
    for name in alone:
        torch.testing.assert_close(alone[name], together[name], rtol=0, atol=1e-5 * largest)


def gradients(run: RunConfig) -> dict[str, torch.Tensor]:
    """Gradients of a run of one step.

    AdamW's first moment is then a tenth of them. The weights would not do: Adam divides by the size
    of a gradient, so the rounding of one near zero moves its weight fully.
    """
    moments = load_file(Path(run.output) / "last" / "optimizer.safetensors")
    return {name: 10 * each for name, each in moments.items() if name.endswith("/exp_avg")}


def test_accumulated_batches_have_the_gradient_of_one_that_holds_them(
    make_run: MakeRun, tmp_path: Path
) -> None:
    # Some of the recordings have labels of two metrics, the others of six.
    options = {"steps": 1, "objectives": {**ALL_OBJECTIVES, "qamro": 0.0, "reference_spectra": 0.0}}
    one = make_run(
        output=str(tmp_path / "one"),
        data={"batch_seconds": 7.2},
        optimizer={"clip": 1e6},
        **options,
    )
    three = make_run(
        output=str(tmp_path / "three"),
        data={"batch_seconds": 2.4},
        optimizer={"clip": 1e6, "accumulate": 3},
        **options,
    )
    assert Trainer(one).train().progress == Trainer(three).train().progress == (1, 0)
    whole, accumulated = gradients(one), gradients(three)
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    for name in whole:
        torch.testing.assert_close(whole[name], accumulated[name], rtol=0, atol=1e-5 * largest)


def test_a_preference_head_that_no_pair_would_train_is_refused(
    make_run: MakeRun, manifest: Path, tmp_path: Path
) -> None:
    # One rating per content leaves no two to compare.
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["audio_path"] = str(manifest.parent / line["audio_path"])
        if line["system_id"] != "0":
            del line["metrics"]["mos_overall"]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {"manifests": [str(tmp_path / "rated.jsonl")], "pairs": {"ref": 1.0}}
    with pytest.raises(ManifestError, match="no two training recordings make a pair"):
        Trainer(make_run(data=data))
