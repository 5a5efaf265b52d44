import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from urgentmos.model.assessor import Assessor
from urgentmos.scoring.inference import WindowScorer
from urgentmos.windows import Window

Forward = Callable[..., dict[str, Tensor]]


def _windows(assessor: Assessor, levels: list[float]) -> list[Window]:
    rate = assessor.sample_rate
    return [
        Window(np.full(rate * (2 + item), level, np.float32), 0.0, 2.0 + item, 2.0 + item)
        for item, level in enumerate(levels)
    ]


def _replace_score(
    assessor: Assessor, monkeypatch: pytest.MonkeyPatch, before: Callable[[Tensor], None]
) -> None:
    """Make the model score the first sample of each recording, after ``before`` has seen them."""

    def score(waveform: Tensor, sample_rate: int, **_: object) -> dict[str, Tensor]:
        before(waveform)
        return {"mos": waveform[:, 0]}

    monkeypatch.setattr(assessor, "score", score)


def _run_out_above(
    seconds: float, assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> list[float]:
    """Make the GPU run out of memory on larger batches; the list gets the seconds of each tried."""
    sizes: list[float] = []

    def run_out(batch: Tensor) -> None:
        sizes.append(batch.numel() / 16000)
        if sizes[-1] > seconds:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    _replace_score(assessor, monkeypatch, run_out)
    return sizes


def test_results_come_in_the_order_of_the_windows(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace_score(tiny_assessor, monkeypatch, lambda _: None)
    scorer = WindowScorer(tiny_assessor, ["mos"], batch_seconds=9.0)
    results = scorer.score(_windows(tiny_assessor, [0.25, 0.5, 0.75, 1.0]))
    assert results == [{"mos": 0.25}, {"mos": 0.5}, {"mos": 0.75}, {"mos": 1.0}]


def test_no_batch_is_larger_than_allowed(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[float] = []
    _replace_score(tiny_assessor, monkeypatch, lambda batch: sizes.append(batch.numel() / 16000))
    WindowScorer(tiny_assessor, ["mos"], batch_seconds=8.0).score(
        _windows(tiny_assessor, [0.5] * 5)
    )
    assert max(sizes) <= 8.0
    assert len(sizes) < 5


def test_out_of_gpu_memory_halves_the_batch_and_says_so(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = _run_out_above(10, tiny_assessor, monkeypatch)
    scorer = WindowScorer(tiny_assessor, ["mos"], batch_seconds=60.0)
    windows = _windows(tiny_assessor, [0.25, 0.5, 0.75, 1.0])
    with caplog.at_level(logging.WARNING):
        first = scorer.score(windows)
    assert [result["mos"] for result in first if not isinstance(result, str)] == [
        0.25, 0.5, 0.75, 1.0,
    ]  # fmt: skip
    assert "out of GPU memory: going on with batches of 10 s" in caplog.text
    sizes.clear()
    assert scorer.score(windows) == first
    assert max(sizes) <= 10, "the smaller bound is kept"


def test_batches_planned_before_the_gpu_ran_out_are_not_tried_whole(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = _run_out_above(10, tiny_assessor, monkeypatch)
    window = Window(np.full(5 * 16000, 0.5, np.float32), 0.0, 5.0, 5.0)
    scorer = WindowScorer(tiny_assessor, ["mos"], batch_seconds=20.0)
    assert scorer.score([window] * 8) == [{"mos": 0.5}] * 8
    assert sizes == [20.0, 10.0, 10.0, 10.0, 10.0]


def test_a_recording_too_large_for_the_gpu_alone_fails_alone(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(batch: Tensor) -> None:
        if batch.shape[1] > 4 * 16000:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    _replace_score(tiny_assessor, monkeypatch, run_out)
    scorer = WindowScorer(tiny_assessor, ["mos"], batch_seconds=60.0)
    results = scorer.score(_windows(tiny_assessor, [0.25, 0.5, 0.75, 1.0]))
    assert [isinstance(result, str) for result in results] == [False, False, False, True]
    assert results[3] == "out of GPU memory on this recording alone"


@pytest.mark.parametrize("kind", [RuntimeError, ZeroDivisionError, IndexError])
def test_a_recording_that_the_model_cannot_score_fails_alone(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def refuse(batch: Tensor) -> None:
        if bool((batch[:, 0] == 0.5).any()):
            raise kind("no kernel for this")

    _replace_score(tiny_assessor, monkeypatch, refuse)
    scorer = WindowScorer(tiny_assessor, ["mos"], batch_seconds=60.0)
    results = scorer.score(_windows(tiny_assessor, [0.25, 0.5, 0.75]))
    assert results == [{"mos": 0.25}, "the model failed: no kernel for this", {"mos": 0.75}]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_no_score(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def score(waveform: Tensor, sample_rate: int, **_: object) -> dict[str, Tensor]:
        return {"mos": torch.tensor([3.0, value])}

    monkeypatch.setattr(tiny_assessor, "score", score)
    scorer = WindowScorer(tiny_assessor, ["mos"], batch_seconds=60.0)
    results = scorer.score(_windows(tiny_assessor, [0.25, 0.5]))
    # The longer recording goes first.
    assert results == ["the model gave no finite score for mos", {"mos": 3.0}]


def test_short_recordings_count_as_long_as_the_model_hears_them(
    tiny_assessor: Assessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    _replace_score(tiny_assessor, monkeypatch, lambda batch: sizes.append(len(batch)))
    monkeypatch.setattr(tiny_assessor.network, "min_samples", 16000)
    windows = [Window(np.full(400, 0.5, np.float32), 0.0, 0.025, 0.025)] * 10
    WindowScorer(tiny_assessor, ["mos"], batch_seconds=4.0).score(windows)
    assert sizes == [4, 4, 2]
