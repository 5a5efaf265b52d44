import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from urgentmos.config import ConfigError, from_dict, to_dict
from urgentmos.data.dataset import Batch
from urgentmos.data.manifest import Recording
from urgentmos.data.sampler import Progress
from urgentmos.model.checkpoint import load_model
from urgentmos.model.network import AssessorNetwork, NetworkOutput
from urgentmos.training.config import ObjectivesConfig, RunConfig
from urgentmos.training.corpus_bias import CorpusBias, build_corpus_bias, number_corpora
from urgentmos.training.objective import Objective
from urgentmos.training.trainer import Trainer

from .conftest import MakeRun


def recording(corpus: str | None, mos: float | None) -> Recording:
    metrics = {} if mos is None else {"mos": mos}
    return Recording(Path("/a.wav"), "u", "s", "r", 1.0, metrics, {"corpus": corpus})


def test_offsets_are_zero_on_average_over_rated_recordings() -> None:
    rated = [recording("a", 3.0)] * 3 + [recording("b", 2.0), recording("b", None)]
    bias = build_corpus_bias(rated)
    torch.testing.assert_close(bias.shares, torch.tensor([0.75, 0.25]))
    with torch.no_grad():
        bias.raw.copy_(torch.tensor([1.0, -1.0]))
    # The mean is 0.75 - 0.25 = 0.5, and so the penalty (0.5² + 1.5²) / 2.
    torch.testing.assert_close(bias.offsets(), torch.tensor([0.5, -1.5]))
    torch.testing.assert_close(bias.penalty(), torch.tensor(1.25))


def test_corpora_are_numbered_as_they_come() -> None:
    names, corpora = number_corpora([recording(name, 1.0) for name in ("b", "a", "b")])
    assert (names, corpora.tolist()) == (["b", "a"], [0, 1, 0])


class _ConstantNetwork(AssessorNetwork):
    """Scores everything 3."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.metrics = ["mos", "pesq"]

    def forward(self, waveform: torch.Tensor, *_: object, **__: object) -> NetworkOutput:
        scores = {name: torch.full((len(waveform),), 3.0) for name in self.metrics}
        frames = torch.zeros(len(waveform), 1, 1)
        return NetworkOutput(scores, frames, None, frames[..., 0] == 0)


def _batch(labels: list[list[float]], corpora: list[int]) -> Batch:
    none = torch.empty(0, dtype=torch.int64)
    targets = torch.tensor(labels)
    return Batch(
        waveform=torch.zeros(len(labels), 1), lengths=torch.ones(len(labels), dtype=torch.int64),
        labels=targets, pairs=none.reshape(0, 2), cmos=none.float(), preference=none,
        label_counts=(~targets.isnan()).sum(dim=0).float(), pair_count=torch.tensor(0.0),
        decided_count=torch.tensor(0.0), after=Progress(), corpora=torch.tensor(corpora),
    )  # fmt: skip


def _objective(bias: CorpusBias | None, *, weight: float) -> Objective:
    config = ObjectivesConfig(absolute=1.0, preference=0.0, corpus_bias=weight)
    return Objective(_ConstantNetwork(), config, corpus_bias=bias)


def test_the_loss_compares_mos_with_offset_and_other_metrics_without() -> None:
    bias = CorpusBias(torch.tensor([1.0, 1.0]))
    with torch.no_grad():
        bias.raw.copy_(torch.tensor([0.5, -0.5]))
    nan = float("nan")
    batch = _batch([[3.5, 3.0], [2.0, nan]], corpora=[0, 1])
    total, terms = _objective(bias, weight=0.1)(batch)
    # mos: 3 + 0.5 meets 3.5, 3 - 0.5 misses 2 by 0.5: mean 0.125; pesq: exact; mean over both.
    assert float(terms["absolute"]) == pytest.approx(0.0625)
    assert float(terms["corpus_bias"]) == pytest.approx(0.25)
    assert float(total.detach()) == pytest.approx(0.0625 + 0.1 * 0.25)


def test_offsets_are_shrunk_exactly_as_the_penalty_says() -> None:
    # Two corpora of equal size whose labels lie 0.6 above and below every score. With offsets b
    # and -b the loss is ((0.6 - b)² + w b²) / 1 for the only metric, least at b = 0.6 / (1 + w).
    bias = CorpusBias(torch.tensor([1.0, 1.0]))
    objective = _objective(bias, weight=0.5)
    objective.metric_weights = torch.tensor([1.0, 0.0])
    with torch.no_grad():
        bias.raw.copy_(torch.tensor([0.4, -0.4]))
    total, _ = objective(_batch([[3.6, 3.0], [2.4, 3.0]], corpora=[0, 1]))
    total.backward()
    assert float(total.detach()) == pytest.approx(0.2**2 + 0.5 * 0.4**2)
    assert bias.raw.grad is not None
    torch.testing.assert_close(bias.raw.grad, torch.zeros(2), atol=1e-6, rtol=0)


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_run_learns_the_offsets_and_the_model_it_leaves_has_none(
    make_run: MakeRun, manifest: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["audio_path"] = str(manifest.parent / line["audio_path"])
        strict = line["reference_id"] == "1"
        line["meta"]["corpus"] = "strict" if strict else "kind"
        line["metrics"]["mos_overall"] = 1.2 if strict else 4.8
    two = tmp_path / "two.jsonl"
    two.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = make_run(
        steps=4,
        data={"manifests": [str(two)]},
        objectives={"absolute": 0.6, "preference": 0.4, "corpus_bias": 0.01},
    )
    trainer = Trainer(run)
    trainer.train()
    model = load_model(Path(run.output) / "final")
    offsets = model.card["corpus_offsets"]
    assert set(offsets) == {"kind", "strict"}
    assert offsets["strict"] < 0 < offsets["kind"]
    # Six rated recordings are kind and three strict.
    assert 6 * offsets["kind"] + 3 * offsets["strict"] == pytest.approx(0.0, abs=1e-5)
    assert not [name for name in model.network.state_dict() if "bias.raw" in name]


def test_an_offset_without_what_it_shifts_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    changed = to_dict(replace(run, objectives=run.objectives))
    changed["objectives"] |= {"absolute": 0.0, "preference": 1.0, "corpus_bias": 0.1}
    with pytest.raises(ConfigError, match="corpus_bias shifts 'mos'"):
        from_dict(RunConfig, changed, where="run")
