"""A variant of the paper, with a small random WavLM, from a manifest to a model in use."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import urgentmos
from urgentmos.config import ConfigError, load_config
from urgentmos.model.checkpoint import CheckpointError, load_model
from urgentmos.model.config import EncoderConfig, FusionConfig
from urgentmos.training.config import RunConfig

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

CONFIG = Path(__file__).parents[2] / "configs" / "urgentmos" / "f1c1m5_ref.yaml"
SMALL_WAVLM = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.fixture
def recordings_folder(tmp_path: Path, speech) -> Path:
    """Two contents, each by three systems, with labels that fall with the noise."""
    generator = np.random.default_rng(0)
    lines = []
    for content in range(2):
        clean = speech(0.5, seed=content)
        for system in range(3):
            name = f"{content}_{system}.wav"
            noise = 0.1 * system * generator.standard_normal(len(clean))
            soundfile.write(tmp_path / name, (clean + noise).clip(-1, 1), 16000)
            metrics = {"mos_overall": 4.5 - 1.5 * system}
            if system:
                predictors = ("utmos", "scoreq", "nisqa_mos", "distill_mos")
                metrics |= dict.fromkeys(predictors, 4.0 - system)
            lines.append(
                {
                    "audio_path": name,
                    "uid": f"{system}:{content}",
                    "system_id": str(system),
                    "reference_id": str(content),
                    "duration": 0.5,
                    "metrics": metrics,
                    "meta": {"split": "validation" if content else "train"},
                }
            )
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def small_run(folder: Path, *, trainable_layers: int | str = 0) -> RunConfig:
    run = load_config(RunConfig, CONFIG)
    options = {"architecture": SMALL_WAVLM, "pretrained": False, "normalise": False}
    model = replace(
        run.model,
        encoders=[EncoderConfig("wavlm", {**options, "trainable_layers": trainable_layers})],
        fusion=FusionConfig(16),
        groups={"naturalness": replace(run.model.groups["naturalness"], layers=1, feedforward=16)},
    )
    data = replace(
        run.data,
        manifests=[str(folder / "manifest.jsonl")], pair_manifests=[],
        max_seconds=0.5, min_seconds=0.3, batch_seconds=2.0, workers=0,
    )  # fmt: skip
    return replace(
        run, model=model, data=data, output=str(folder / "run"),
        steps=2, validate_every=2, save_every=2, log_every=1, precision="float32",
    )  # fmt: skip


@pytest.mark.parametrize("trainable_layers", [0, 1])
def test_trained_model_scores_compares_and_is_a_loss(trainable_layers, recordings_folder):
    from urgentmos.training.trainer import Trainer

    run = small_run(recordings_folder, trainable_layers=trainable_layers)
    trainer = Trainer(run)
    before = {name: p.clone() for name, p in trainer.network.encoders.named_parameters()}
    trainer.train()
    moved = {
        name.split("layers.")[1].split(".")[0]
        for name, parameter in trainer.network.encoders.named_parameters()
        if not torch.equal(parameter, before[name])
    }
    assert moved == ({"1"} if trainable_layers else set())

    model = recordings_folder / "run" / "final"
    assessor = load_model(model)
    rows = list(
        assessor.score_files([recordings_folder / "0_0.wav", recordings_folder / "0_2.wav"])
    )
    assert [row.status for row in rows] == ["ok", "ok"]
    assert list(rows[0].scores) == run.model.metrics
    waveform = torch.randn(8000) * 0.1
    assert assessor.compare(waveform, waveform, 16000).verdict == "tie"
    enhanced = waveform[None].clone().requires_grad_()
    urgentmos.QualityLoss(weights={"mos": 1.0}, model=model)(enhanced).backward()
    assert enhanced.grad is not None
    assert enhanced.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.encoders.0.family=wavelm", "unknown encoder 'wavelm'; did you mean 'wavlm'"),
        ("model.encoders.0.options.layer=3", "unknown key 'layer'"),
        ("model.encoders.0.options.trainable_layers=13", "expected 0 to 2, the layers there are"),
        ("model.fusion.dim=770", r"groups\.naturalness\.heads: 8 heads do not divide"),
        ("model.groups.naturalness.metrics=[]", "a group predicts at least one metric"),
        ("model.groups.naturalness.metrics=[mos,mso]", "unknown metric 'mso'"),
        ("model.bounds.pesq=[1,4]", "does not predict 'pesq'"),
        ("model.bounds.scoreq=[5,1]", "expected low < high"),
    ],
)
def test_bad_configurations_are_refused_in_words(override, message):
    from urgentmos.model.network import build_assessor

    small = f"model.encoders.0.options.architecture={json.dumps(SMALL_WAVLM)}"
    given = [small, "model.encoders.0.options.pretrained=false",
             "model.encoders.0.options.normalise=false", override]  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        build_assessor(load_config(RunConfig, CONFIG, given).model)


def test_checkpoint_of_another_configuration_is_refused(recordings_folder, tmp_path):
    from urgentmos.model.checkpoint import save_model
    from urgentmos.model.network import build_assessor

    config = small_run(recordings_folder).model
    save_model(tmp_path / "model", build_assessor(config), config, {})
    stated = json.loads((tmp_path / "model" / "config.json").read_text())
    stated["fusion"]["dim"] = 32
    (tmp_path / "model" / "config.json").write_text(json.dumps(stated))
    with pytest.raises(CheckpointError, match=r"does not fit config\.json"):
        load_model(tmp_path / "model")
