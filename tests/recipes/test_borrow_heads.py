"""A model borrows the heads that another one's encoder has of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig, NativeScoreConfig
from urgentmos.model.network import build_assessor

from .conftest import run_script

COPY = {
    "dim": 8, "channels": [4, 6, 8], "time_strides": [2, 2, 2], "frequency_strides": [4, 2, 4],
    "layers": 1, "heads": 2, "feedforward": 16, "window_frames": 12,
    "peak_head": {"metrics": ["pesq"], "channels": [4, 4]},
    "frame_head": {"metrics": ["mos"], "channels": [4, 4], "frame_dim": 6, "after": 1},
}  # fmt: skip


WINDOW = 12 * 8 * 160


@pytest.fixture
def models(tmp_path: Path, tiny_config: ModelConfig) -> tuple[Path, Path]:
    """One without such heads, and another one with two."""
    configs = (
        tiny_config,
        replace(
            tiny_config,
            encoders=[*tiny_config.encoders, EncoderConfig("spectral_transformer", COPY)],
            native_score=NativeScoreConfig(
                encoder=len(tiny_config.encoders), shares={"pesq": 0.5, "mos": 0.25}
            ),
        ),
    )
    folders = tmp_path / "plain", tmp_path / "lender"
    for seed, (folder, config) in enumerate(zip(folders, configs, strict=True)):
        torch.manual_seed(seed)
        save_model(folder, build_assessor(config), config, {"name": folder.name}, half=True)
    return folders


def test_they_count_as_they_did_and_nothing_else_changes(
    tmp_path: Path, models: tuple[Path, Path], speech: Callable[..., np.ndarray]
) -> None:
    done = run_script("default/borrow_heads.py", *models, "--output", tmp_path / "joined")
    assert done.returncode == 0, done.stderr
    plain, lender, joined = (load_model(each) for each in (*models, tmp_path / "joined"))
    added = joined.config.encoders[-1].options
    assert (added["layers"], added["channels"]) == (0, [4, 6])
    for samples in (12_000, 2 * WINDOW):
        waveform = torch.from_numpy(speech(2.0, 7))[:samples]
        heard = lender.network.prepare(waveform[None], torch.tensor([len(waveform)]))
        with torch.no_grad():
            says = lender.network.encoders[-1](*heard).native_scores
        before, after = (each.score(waveform, 16000) for each in (plain, joined))
        for metric, score in before.items():
            share = {"pesq": 0.5, "mos": 0.25}.get(metric)
            if share is None:
                assert torch.equal(after[metric], score)
            else:
                expected = (1 - share) * score + share * says[metric]
                torch.testing.assert_close(after[metric], expected, atol=1e-5, rtol=1e-5)
    pair = speech(1.0, 1), speech(1.0, 2)
    assert joined.compare(*pair, 16000) == plain.compare(*pair, 16000)


def test_a_lender_without_them_is_refused(tmp_path: Path, models: tuple[Path, Path]) -> None:
    done = run_script("default/borrow_heads.py", models[1], models[0], "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "that is to lend its heads has a share in its scores" in done.stderr


def test_what_was_borrowed_before_gives_way(tmp_path: Path, models: tuple[Path, Path]) -> None:
    earlier, today = tmp_path / "earlier", models[1]
    config = load_model(today).config
    torch.manual_seed(2)
    save_model(earlier, build_assessor(config), config, {}, half=True)
    for model, lender, output in (
        (models[0], earlier, "before"),
        (tmp_path / "before", today, "again"),
        (models[0], today, "at_once"),
    ):
        done = run_script("default/borrow_heads.py", model, lender, "--output", tmp_path / output)
        assert done.returncode == 0, done.stderr
    before, again, at_once = (
        (tmp_path / folder / "model.safetensors").read_bytes()
        for folder in ("before", "again", "at_once")
    )
    assert before != again
    assert again == at_once


def test_they_are_not_put_beside_such_heads(tmp_path: Path, models: tuple[Path, Path]) -> None:
    done = run_script("default/borrow_heads.py", models[1], models[1], "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "an encoder has a share in the model's mos, pesq already" in done.stderr


def test_what_the_model_does_not_predict_is_not_borrowed(
    tmp_path: Path, models: tuple[Path, Path]
) -> None:
    assessor = load_model(models[0])
    groups = {
        name: replace(group, metrics=[m for m in group.metrics if m != "pesq"] or ["estoi"])
        for name, group in assessor.config.groups.items()
    }
    config = replace(assessor.config, groups=groups)
    save_model(tmp_path / "less", build_assessor(config), config, {}, half=True)
    done = run_script(
        "default/borrow_heads.py", tmp_path / "less", models[1], "--output", tmp_path / "out"
    )
    assert done.returncode == 1
    assert "the model does not predict pesq" in done.stderr
