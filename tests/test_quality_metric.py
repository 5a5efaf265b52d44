"""The torchmetrics metric is the mean of the assessor's scores, however they arrive."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from urgentmos.metrics import UnknownMetricError
from urgentmos.model.assessor import Assessor

pytest.importorskip("torchmetrics")

from torchmetrics import MetricCollection

from urgentmos.quality_metric import UrgentMOSMetric

Speech = Callable[..., np.ndarray]


@pytest.fixture
def batch(speech: Speech) -> torch.Tensor:
    return torch.from_numpy(np.stack([speech(1.0, seed) for seed in range(4)]))


def test_it_is_the_mean_of_the_scores(tiny_assessor: Assessor, batch: torch.Tensor) -> None:
    metric = UrgentMOSMetric(["mos", "pesq"], model=tiny_assessor)
    metric.update(batch[:3])
    metric.update(batch[3:])
    scores = tiny_assessor.score(batch, 16000)
    for name, value in metric.compute().items():
        torch.testing.assert_close(value, scores[name].mean())


def test_all_metrics_of_the_model_are_given_when_none_is_named(
    tiny_assessor: Assessor, batch: torch.Tensor
) -> None:
    metric = UrgentMOSMetric(model=tiny_assessor)
    metric.update(batch)
    assert list(metric.compute()) == tiny_assessor.metrics


def test_an_empty_list_of_metrics_is_refused(tiny_assessor: Assessor) -> None:
    with pytest.raises(ValueError, match="expected at least one metric"):
        UrgentMOSMetric([], model=tiny_assessor)


def test_the_assessor_that_it_was_given_stays_where_it_is(
    tiny_assessor: Assessor, batch: torch.Tensor
) -> None:
    metric = UrgentMOSMetric(["mos"], model=tiny_assessor)
    # On this device nothing can be read, and so nothing scored; but the weights go there.
    with pytest.raises(RuntimeError):
        metric.update(batch.to("meta"))
    assert metric._assessor.device == torch.device("meta")
    assert tiny_assessor.device == torch.device("cpu")


def test_metrics_whose_first_means_agree_are_not_taken_for_one(
    tiny_assessor: Assessor, batch: torch.Tensor
) -> None:
    other = Assessor(
        tiny_assessor.network, tiny_assessor.config, model_hash="other", precision="bfloat16"
    )
    metrics = {"a": UrgentMOSMetric(["mos"], model=tiny_assessor)}
    metrics |= {"b": UrgentMOSMetric(["mos"], model=other)}
    together = MetricCollection(metrics)
    assert not together._equal_metric_states(metrics["a"], metrics["b"])
    assert together._equal_metric_states(metrics["a"], metrics["a"].clone())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_mean_has_32_bits_whatever_torchs_default(
    tiny_assessor: Assessor, batch: torch.Tensor, dtype: torch.dtype
) -> None:
    metric = UrgentMOSMetric(["mos"], model=tiny_assessor)
    metric.update(batch)
    expected = metric.compute()["mos"]
    metric.update(batch)
    torch.set_default_dtype(dtype)
    try:
        given = metric.compute()["mos"]
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(given, expected)


def test_processes_are_weighted_by_their_recordings(
    tiny_assessor: Assessor, batch: torch.Tensor
) -> None:
    whole, first, second = (UrgentMOSMetric(["mos"], model=tiny_assessor) for _ in range(3))
    whole.update(batch)
    first.update(batch[:1])
    second.update(batch[1:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute()["mos"], whole.compute()["mos"])


_WORKER = """
import sys, numpy, torch
from urgentmos.quality_metric import UrgentMOSMetric
rank, store, model, batch = sys.argv[1:]
torch.distributed.init_process_group("gloo", f"file://{store}", rank=int(rank), world_size=2)
metric = UrgentMOSMetric(["mos"], model=model)
recordings = torch.from_numpy(numpy.load(batch))
metric.update(recordings[:1] if rank == "0" else recordings[1:])
print(float(metric.compute()["mos"]))
torch.distributed.destroy_process_group()
"""


def test_two_processes_give_the_mean_over_the_recordings_of_both(
    tiny_assessor: Assessor, tiny_model_dir: Path, batch: torch.Tensor, tmp_path: Path
) -> None:
    np.save(tmp_path / "batch.npy", batch.numpy())
    arguments = [str(tmp_path / "store"), str(tiny_model_dir), str(tmp_path / "batch.npy")]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(rank), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    expected = float(tiny_assessor.score(batch, 16000)["mos"].mean())
    for worker in workers:
        mean, told = worker.communicate(timeout=600)
        assert worker.returncode == 0, told
        assert float(mean) == pytest.approx(expected, abs=1e-4)


def test_the_mean_of_millions_keeps_its_digits_without_float64(
    tiny_assessor: Assessor, batch: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = UrgentMOSMetric(["mos"], model=tiny_assessor)
    scores = {"mos": torch.full((4_000_000,), 3.1)}
    monkeypatch.setattr(tiny_assessor, "score", lambda *_, **__: scores)
    metric.update(batch)
    scores = {"mos": torch.tensor([3.1])}
    for _ in range(1000):
        metric.update(batch)
    # Summed as float32, each of the last thousand would count as 3.
    assert float(metric.compute()["mos"]) == pytest.approx(3.1, abs=1e-6)
    # Apple's GPUs take neither a state nor an intermediate result of 64-bit floats.
    assert all(getattr(metric, name).dtype != torch.float64 for name in metric._defaults)


def test_reset_forgets(tiny_assessor: Assessor, batch: torch.Tensor) -> None:
    metric = UrgentMOSMetric(["mos"], model=tiny_assessor)
    metric.update(batch[:2])
    metric.reset()
    metric.update(batch[2:])
    expected = tiny_assessor.score(batch[2:], 16000)["mos"].mean()
    torch.testing.assert_close(metric.compute()["mos"], expected)


def test_padding_does_not_count(tiny_assessor: Assessor, batch: torch.Tensor) -> None:
    metric = UrgentMOSMetric(["mos"], model=tiny_assessor)
    padded = torch.nn.functional.pad(batch[:1], (0, 8000))
    metric.update(padded, lengths=torch.tensor([16000]))
    expected = tiny_assessor.score(batch[0], 16000)["mos"][0]
    torch.testing.assert_close(metric.compute()["mos"], expected, atol=1e-4, rtol=0)


def test_a_metric_without_a_head_is_refused(tiny_assessor: Assessor) -> None:
    with pytest.raises(UnknownMetricError, match="mcd"):
        UrgentMOSMetric(["mcd"], model=tiny_assessor)
