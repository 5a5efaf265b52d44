from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from urgentmos.model.config import EncoderConfig
from urgentmos.model.network import build_assessor
from urgentmos.training.config import RunConfig
from urgentmos.training.description import describe, estimate_memory

from .conftest import MakeRun

SMALL_WAVLM = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.fixture
def make_wavlm_run(make_run: MakeRun) -> Callable[..., RunConfig]:
    """Make a run on a small WavLM: ``make_wavlm_run(trainable_layers=1)``."""

    def make(*, trainable_layers: int) -> RunConfig:
        options = {"architecture": SMALL_WAVLM, "pretrained": False, "normalise": False}
        encoder = EncoderConfig("wavlm", {**options, "trainable_layers": trainable_layers})
        run = make_run()
        return replace(run, model=replace(run.model, encoders=[encoder]))

    return make


def row(text: str, name: str) -> list[int]:
    line = next(line for line in text.splitlines() if line.startswith(name + " "))
    return [int(number.replace(",", "")) for number in line.split()[-2:]]


def test_parameters_are_those_of_the_built_network(make_run: MakeRun) -> None:
    run = make_run()
    network = build_assessor(run.model)
    text = describe(run)
    assert row(text, "all") == [sum(p.numel() for p in network.parameters()), 0]
    fusion = sum(p.numel() for p in network.fusion.parameters())
    assert row(text, "fusion") == [fusion, 0]


def test_encoders_groups_and_memory_are_told(make_run: MakeRun) -> None:
    text = describe(make_run())
    assert "log_mel: " in text
    assert "frames/s, width 12" in text
    assert "noise_and_distortion: pesq, sdr, lsd" in text
    assert "MiB, for 2.4 s of audio" in text
    assert "kept for the backward pass" in text


def test_a_frozen_part_is_counted_as_frozen(make_run: MakeRun) -> None:
    run = make_run(start_from="default", freeze=["fusion"])
    (line,) = [line for line in describe(run).splitlines() if line.startswith("fusion")]
    _, trained, frozen = line.split()
    assert int(trained.replace(",", "")) == 0
    assert int(frozen.replace(",", "")) > 0


def test_a_description_needs_no_data(make_run: MakeRun) -> None:
    run: RunConfig = make_run()
    run = replace(run, data=replace(run.data, manifests=["nowhere.jsonl"]))
    assert describe(run)


def kept_of_a_batch(run: RunConfig) -> int:
    """Count what autograd keeps of a full batch in the real network."""
    network = build_assessor(run.model).eval()
    count = round(run.data.batch_seconds / run.data.max_seconds)
    samples = round(run.data.max_seconds * 16000)
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def count_storage(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(count_storage, lambda tensor: tensor):
        output = network(0.1 * torch.randn(count, samples), torch.full((count,), samples))
        pairs = (output.frames, output.mask) * 2
        compared = network.compare_frames(*pairs)
    assert compared.cmos.shape == (count,)
    return sum(kept.values())


def test_the_estimate_is_what_autograd_keeps_of_a_batch(make_run: MakeRun) -> None:
    run = make_run()
    estimate = estimate_memory(run)["kept for the backward pass"]
    assert estimate == pytest.approx(kept_of_a_batch(run), rel=0.1)


@pytest.mark.parametrize("trainable_layers", [0, 1])
def test_pretrained_encoders_are_in_the_estimate(
    trainable_layers: int, make_wavlm_run: Callable[..., RunConfig]
) -> None:
    pytest.importorskip("transformers")
    run = make_wavlm_run(trainable_layers=trainable_layers)
    taken = estimate_memory(run)
    assert taken["kept for the backward pass"] == pytest.approx(kept_of_a_batch(run), rel=0.1)
    parameters = list(build_assessor(run.model).parameters())
    assert taken["weights"] == 4 * sum(p.numel() for p in parameters)
    assert taken["gradients"] == 4 * sum(p.numel() for p in parameters if p.requires_grad)
    # 8 channels at 3200 Hz, before and after the activation function.
    expected = 2 * 8 * 3200 * 4 * run.data.batch_seconds
    assert taken["first convolution, where frozen"] == expected
