"""The variants of the paper: complete, with its values, and buildable."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from urgentmos.config import load_config
from urgentmos.model.config import EncoderConfig, FusionConfig, ModelConfig
from urgentmos.model.network import build_assessor
from urgentmos.training.config import RunConfig

pytest.importorskip("transformers")

FOLDER = Path(__file__).parents[2] / "configs" / "urgentmos"
FILES = sorted(FOLDER.rglob("*.yaml"))
M5 = ["mos", "utmos", "distill_mos", "nisqa_mos", "scoreq"]
# Encoders, groups, metrics and matching: Tables 4 and 11.
VARIANTS = {
    "f1c1m1_ref": (["wavlm"], 1, 1, "ref"),
    "f1c1m5_ref": (["wavlm"], 1, 5, "ref"),
    "f1c1m5_corpus": (["wavlm"], 1, 5, "corpus"),
    "f1c1m5_any": (["wavlm"], 1, 5, "any"),
    "f4c1m5_ref": (["wavlm", "kimi_audio", "qwen3_omni", "qwen2_audio"], 1, 5, "ref"),
    "f1c1m15_ref": (["wavlm"], 1, 15, "ref"),
    "f1c5m15_ref": (["wavlm"], 5, 15, "ref"),
    "f1c1m5_ref_kimi_audio": (["kimi_audio"], 1, 5, "ref"),
    "f1c1m5_ref_qwen3_omni": (["qwen3_omni"], 1, 5, "ref"),
    "f1c1m5_ref_af_whisper": (["qwen2_audio"], 1, 5, "ref"),
}
SMALL_WAVEFORM = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
SMALL_MEL = {
    "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
    "num_mel_bins": 128, "max_source_positions": 50,
}  # fmt: skip
SMALL = {
    "wavlm": {"architecture": SMALL_WAVEFORM, "normalise": False},
    "kimi_audio": {"architecture": SMALL_MEL},
    "qwen2_audio": {"architecture": SMALL_MEL},
    "qwen3_omni": {"architecture": {**SMALL_MEL, "downsample_hidden_size": 8, "output_dim": 20}},
}


def with_small_encoders(config: ModelConfig) -> ModelConfig:
    """The same model with small random encoders and narrow groups."""
    return replace(
        config,
        encoders=[
            EncoderConfig(each.family, {**each.options, **SMALL[each.family], "pretrained": False})
            for each in config.encoders
        ],
        fusion=FusionConfig(16),
        groups={
            name: replace(group, layers=1, feedforward=16) for name, group in config.groups.items()
        },
    )


def test_there_is_a_file_for_every_variant_and_none_besides():
    assert {path.stem for path in FILES} == set(VARIANTS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_variant_has_the_values_of_the_paper(path):
    run = load_config(RunConfig, path)
    encoders, groups, metrics, matching = VARIANTS[path.stem]
    assert [each.family for each in run.model.encoders] == encoders
    assert (len(run.model.groups), len(run.model.metrics)) == (groups, metrics)
    assert run.data.pairs == {matching: 1.0}
    # Table 2: eleven corpora of ratings, NISQA's in four parts, and two of pairs.
    assert len(run.data.manifests) == 14
    assert len(run.data.pair_manifests) == 2
    assert run.data.batch_seconds == 400
    assert (run.steps, run.optimizer.lr, run.optimizer.schedule) == (20_000, 3e-5, "constant")
    assert run.model.fusion.dim == 768
    for group in run.model.groups.values():
        assert (group.layers, group.heads, group.feedforward) == (6, 8, 2048)
    if metrics == 5:
        assert run.model.metrics == M5
    assert run.output == f"runs/{path.stem}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_first_comment_is_the_command_that_uses_the_file(path):
    first = path.read_text().splitlines()[0]
    assert first == f"# urgentmos train configs/urgentmos/{path.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_variant_builds_and_scores_with_small_random_encoders(path):
    config = with_small_encoders(load_config(RunConfig, path).model)
    network = build_assessor(config).eval()
    waveform = torch.randn(2, 9000) * 0.1
    with torch.no_grad():
        output = network(waveform, torch.tensor([9000, 7000]))
    assert list(output.scores) == config.metrics
    for name, values in output.scores.items():
        low, high = config.head_bounds(name)
        assert low is None or bool((values >= low).all())
        assert high is None or bool((values <= high).all())
    assert output.frames is not None


def test_table_1_gives_the_bounds():
    bounds = load_config(RunConfig, FOLDER / "f1c5m15_ref.yaml").model.head_bounds
    assert bounds("pesq") == (1.0, 4.5)
    assert bounds("utmos") == (1.0, 5.0)
    assert bounds("scoreq") == (1.0, 5.0)
    assert bounds("lps") == (None, 1.0)
    assert bounds("sdr") == (None, None)
    assert bounds("mcd") == (0.0, None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dry_run_describes_the_variant_without_weights(path, monkeypatch):
    pytest.importorskip("accelerate")
    from urgentmos.training.description import describe

    monkeypatch.setattr("urgentmos.model.encoders.audio_tower.load_tower", None)
    run = load_config(RunConfig, path)
    small = replace(run, model=with_small_encoders(run.model))
    text = describe(small)
    for metric in run.model.metrics:
        assert metric in text
    assert "frames/s" in text
    assert "MiB" in text
