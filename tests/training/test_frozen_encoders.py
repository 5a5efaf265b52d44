"""Runs whose frozen encoders' hidden states come from disk."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from urgentmos.config import ConfigError, to_dict
from urgentmos.data.dataset import BatchDataset
from urgentmos.model.checkpoint import load_model
from urgentmos.model.config import EncoderConfig
from urgentmos.training.config import RunConfig, TeacherConfig
from urgentmos.training.trainer import Trainer

from .conftest import MakeRun, loss_around_training

pytest.importorskip("distillmos", exc_type=ImportError)

TRUNK = EncoderConfig("distill_mos", {"averaged_frames": 4})
TEACHER = {"encoder": to_dict(TRUNK), "layers": [1, 7]}


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate keeps its state across trainers."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)


def with_trunk(make_run: MakeRun, features: Path | None, **changes: Any) -> RunConfig:
    data = {"pairs": {"ref": 1.0}} | ({"features": str(features)} if features else {})
    run = make_run(data=data, **changes)
    return replace(run, model=replace(run.model, encoders=[*run.model.encoders, TRUNK]))


def test_stored_states_train_and_validate_as_the_encoder_itself_does(
    make_run: MakeRun, tmp_path: Path
) -> None:
    runs = [
        with_trunk(make_run, features, output=str(tmp_path / name))
        for name, features in (("live", None), ("stored", tmp_path / "features"))
    ]
    live, stored = (Trainer(run) for run in runs)
    figures = [trainer.validate() for trainer in (live, stored)]
    assert figures[0] == pytest.approx(figures[1], abs=5e-3, nan_ok=True)
    gradients = []
    for trainer in (live, stored):
        loss, _ = trainer._module(trainer._dataset[next(trainer._sampler.plans())])
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in trainer._parameters]))
    # Hidden states are stored in float16, which has 11 bits.
    assert (gradients[0] - gradients[1]).norm() < 0.01 * gradients[0].norm()


def test_a_model_trained_on_stored_states_scores_waveforms(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = with_trunk(make_run, tmp_path / "features")
    Trainer(run).train()
    scores = load_model(Path(run.output) / "final").score(torch.randn(8000) * 0.1, 16000)
    assert all(torch.isfinite(score).all() for score in scores.values())


def test_the_trunk_does_not_run_in_training_once_its_states_are_stored(
    make_run: MakeRun, tmp_path: Path
) -> None:
    trainer = Trainer(with_trunk(make_run, tmp_path / "features"))

    def refuse(*_: torch.Tensor) -> None:
        raise AssertionError("the trunk ran")

    trainer.network.encoders[-1].forward = refuse
    trainer.train()


def test_a_teacher_s_states_are_learned_and_left_out_of_the_model(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(
        teacher=TEACHER, data={"features": str(tmp_path / "features")}, steps=30,
        objectives={"distillation": 1.0, "absolute": 0.01, "preference": 0.5},
    )  # fmt: skip
    trainer = Trainer(run)
    dataset: BatchDataset = trainer._dataset
    batch = dataset[next(trainer._sampler.plans())]
    assert batch.teacher is not None
    assert batch.teacher.hidden_states.shape[:2] == (len(batch.lengths), 2)
    before, after = loss_around_training(trainer, batch, "distillation")
    assert after < 0.9 * before
    saved = load_file(Path(run.output) / "final/model.safetensors")
    assert not any("distillation" in name or "tower" in name for name in saved)


def test_a_run_with_a_teacher_resumes_to_the_bit(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [
        make_run(
            teacher=TEACHER, data={"features": str(tmp_path / "features")},
            objectives={"distillation": 1.0}, output=str(tmp_path / name),
        )
        for name in ("whole", "parts")
    ]  # fmt: skip
    Trainer(runs[0]).train()
    Trainer(runs[1]).train(until=2)
    Trainer(runs[1], resume=True).train()
    once, twice = (
        load_file(tmp_path / name / "last/model.safetensors") for name in ("whole", "parts")
    )
    assert any(name.startswith("distillation.") for name in once)
    assert all(torch.equal(once[name], twice[name]) for name in once)


def with_student(
    make_run: MakeRun, features: Path, *, layers: list[int], student: int
) -> RunConfig:
    run = make_run(data={"features": str(features)}, steps=30)
    small = EncoderConfig(
        "spectral_transformer", {"channels": [8] * 5, "time_strides": [2, 2, 2, 1, 1], "layers": 1}
    )
    return replace(
        run,
        model=replace(run.model, encoders=[*run.model.encoders, small]),
        teacher=TeacherConfig(TRUNK, layers, student=student),
        objectives=replace(run.objectives, student_distillation=1.0),
    )


def test_a_student_comes_nearer_to_the_teacher(make_run: MakeRun, tmp_path: Path) -> None:
    run = with_student(make_run, tmp_path / "features", layers=[0, 7], student=2)
    trainer = Trainer(run)
    batch = trainer._dataset[next(trainer._sampler.plans())]
    before, after = loss_around_training(trainer, batch, "student_distillation")
    assert after < 0.9 * before
    saved = load_file(Path(run.output) / "final/model.safetensors")
    assert not any("student_distillation" in name or "tower" in name for name in saved)


@pytest.mark.parametrize(
    ("layers", "student", "message"),
    [
        (
            [0, 4, 7],
            2,
            "3 hidden states of size 200 cannot be those of the student, which gives 2 of",
        ),
        ([0, 7], 0, "2 hidden states of size 200 cannot be those of the student"),
        ([0, 7], 3, r"teacher\.student: expected 0 to 2.*got 3"),
    ],
)
def test_a_student_that_cannot_be_one_is_refused(
    make_run: MakeRun, tmp_path: Path, layers: list[int], student: int, message: str
) -> None:
    with pytest.raises((ConfigError, ValueError), match=message):
        Trainer(with_student(make_run, tmp_path / "features", layers=layers, student=student))


def test_a_layer_the_teacher_lacks_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(
        teacher={"encoder": to_dict(TRUNK), "layers": [8]}, objectives={"distillation": 1.0},
        data={"features": str(tmp_path / "features")},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"teacher.layers: expected 0 to 7.*got 8"):
        Trainer(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": TEACHER}, "or student_distillation is above 0 exactly where teacher is set"),
        ({"objectives": {"distillation": 1.0}}, "or student_distillation is above 0 exactly where"),
        (
            {"objectives": {"student_distillation": 1.0}},
            "or student_distillation is above 0 exactly where",
        ),
        (
            {"teacher": {**TEACHER, "student": 0}, "objectives": {"distillation": 1.0}},
            r"is above 0 exactly where teacher\.student is set; got 0.0 and student 0",
        ),
        (
            {"teacher": TEACHER, "objectives": {"distillation": 1.0}},
            "a teacher needs data.features",
        ),
        ({"teacher": {**TEACHER, "layers": []}}, "layers: expected at least one"),
    ],
)
def test_a_teacher_without_its_weight_folder_or_layers_is_refused(
    make_run: MakeRun, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_run(**changes)
