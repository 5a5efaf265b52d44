"""What is promised of scores, comparisons and losses, on a GPU."""

import logging
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import urgentmos
from urgentmos.audio import read_audio
from urgentmos.metrics import METRICS
from urgentmos.model.assessor import Assessor
from urgentmos.model.tf32 import without_tf32
from urgentmos.quality_loss import QualityLoss
from urgentmos.scoring import score_files
from urgentmos.scoring.inference import WindowScorer
from urgentmos.windows import Window

RECORDINGS = Path(__file__).parents[1] / "recipes" / "demo" / "recordings"
Speech = Callable[..., np.ndarray]
Scores = dict[str, Tensor]


@pytest.fixture(scope="module", params=["default", "accurate"])
def model(request: pytest.FixtureRequest, gpu: torch.device) -> str:
    """A shipped model; the accurate one where it can be loaded."""
    name: str = request.param
    if name == "accurate":
        pytest.importorskip("distillmos")
    return name


@pytest.fixture(scope="module")
def here(model: str) -> Assessor:
    """The model on the processor."""
    return urgentmos.load(model, device="cpu")


@pytest.fixture
def there(model: str, gpu: torch.device) -> Assessor:
    """The same on the GPU."""
    return urgentmos.load(model, device=gpu)


@pytest.fixture(scope="module")
def demo() -> dict[str, np.ndarray]:
    """Recordings by name."""
    return {path.stem: read_audio(path).waveform for path in sorted(RECORDINGS.iterdir())}


def largest_change(scores: Scores, others: Scores) -> float:
    """As a share of the metric's range."""
    assert scores.keys() == others.keys()
    return max(
        float((score.cpu() - others[name].cpu()).abs().max()) / METRICS[name].scale
        for name, score in scores.items()
    )


def padded(waveforms: list[np.ndarray], *, more: int = 0) -> tuple[Tensor, list[int]]:
    lengths = [len(waveform) for waveform in waveforms]
    batch = torch.zeros(len(lengths), max(lengths) + more)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return batch, lengths


def test_it_scores_as_on_a_processor(
    here: Assessor, there: Assessor, demo: dict[str, np.ndarray]
) -> None:
    for waveform in demo.values():
        scores = there.score(waveform, 16000)
        assert {score.device.type for score in scores.values()} == {there.device.type}
        assert largest_change(scores, here.score(waveform, 16000)) <= 1e-4


@pytest.mark.parametrize("kind", ["48 kHz", "long", "short", "silence", "clipped"])
def test_it_scores_anything_as_on_a_processor(
    here: Assessor, there: Assessor, demo: dict[str, np.ndarray], speech: Speech, kind: str
) -> None:
    noisy = demo["noise_mild"]
    waveform, sample_rate = {
        "48 kHz": (speech(2.0, sample_rate=48000), 48000),
        "long": (np.tile(noisy, 12), 16000),
        "short": (noisy[8000:8160], 16000),
        "silence": (np.zeros(16000, np.float32), 16000),
        "clipped": ((20 * noisy).clip(-1, 1), 16000),
    }[kind]
    scores = there.score(waveform, sample_rate)
    assert largest_change(scores, here.score(waveform, sample_rate)) <= 1e-4


def test_a_score_belongs_to_the_recording(there: Assessor, demo: dict[str, np.ndarray]) -> None:
    """Padding and batch-mates, in any order, change none."""
    waveforms = [demo["clean"], demo["noise_severe"][:20_000], np.tile(demo["codec"], 2)]
    alone = [there.score(waveform, 16000) for waveform in waveforms]
    for order in permutations(range(len(waveforms))):
        batch, lengths = padded([waveforms[item] for item in order], more=5_000)
        for given in (batch, batch.to(there.device)):
            together = there.score(given, 16000, lengths=lengths)
            for row, item in enumerate(order):
                one = {name: score[row : row + 1] for name, score in together.items()}
                assert largest_change(alone[item], one) <= 1e-4


def test_batches_of_files_change_no_score(there: Assessor) -> None:
    expected = {row.path: row.scores for row in score_files(there, [RECORDINGS])}
    for batch_seconds in (1.0, 8.0):
        rows = list(score_files(there, [RECORDINGS], batch_seconds=batch_seconds, workers=0))
        assert [row.status for row in rows] == ["ok"] * len(expected)
        for row in rows:
            for name, score in row.scores.items():
                assert abs(score - expected[row.path][name]) <= 1e-4 * METRICS[name].scale


def test_bfloat16_moves_a_score_little_and_a_batch_moves_it_less(
    model: str, here: Assessor, gpu: torch.device, demo: dict[str, np.ndarray]
) -> None:
    """By as much as on a processor: the README has the bounds."""
    halved = urgentmos.load(model, device=gpu, precision="bfloat16")
    batch, lengths = padded(list(demo.values()), more=16_000)
    together = halved.score(batch, 16000, lengths=lengths)
    for row, waveform in enumerate(demo.values()):
        scores = halved.score(waveform, 16000)
        bound = 0.02 if model == "default" else 0.03
        assert 0 < largest_change(scores, here.score(waveform, 16000)) <= bound
        one = {name: score[row : row + 1] for name, score in together.items()}
        assert largest_change(scores, one) <= 0.01


def test_comparisons_mirror_to_the_bit_and_are_those_of_a_processor(
    demo: dict[str, np.ndarray], gpu: torch.device
) -> None:
    here, there = urgentmos.load(device="cpu"), urgentmos.load(device=gpu)
    a, b = demo["noise_severe"], demo["clean"][:40_000]
    forward, backward = there.compare(a, b, 16000), there.compare(b, a, 16000)
    assert (forward.p_a, forward.p_tie, forward.p_b) == (backward.p_b, backward.p_tie, backward.p_a)
    assert forward.cmos == -backward.cmos
    itself = there.compare(a, a.copy(), 16000)
    assert itself.p_a == itself.p_b
    assert itself.verdict == "tie"
    expected = here.compare(a, b, 16000)
    assert forward.verdict == expected.verdict
    for name in ("p_a", "p_tie", "p_b", "cmos"):
        assert getattr(forward, name) == pytest.approx(getattr(expected, name), abs=1e-3)


def test_out_of_memory_the_batch_is_halved_and_scores_are_the_same(
    gpu: torch.device, speech: Speech, caplog: pytest.LogCaptureFixture
) -> None:
    assessor = urgentmos.load(device=gpu)
    windows = [Window(speech(8.0, seed=seed), 0.0, 8.0, 8.0) for seed in range(16)]

    def score() -> list[dict[str, float] | str]:
        return WindowScorer(assessor, assessor.metrics, batch_seconds=128.0).score(windows)

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    expected = score()
    assert "out of GPU memory" not in caplog.text
    needed = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    memory = torch.cuda.get_device_properties(gpu).total_memory
    # Less than half: a convolution goes on with less than it would like to have.
    torch.cuda.set_per_process_memory_fraction(0.4 * needed / memory)
    try:
        with caplog.at_level(logging.WARNING):
            scored = score()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of GPU memory: going on with batches of 64 s" in caplog.text
    for before, after in zip(expected, scored, strict=True):
        assert isinstance(before, dict)
        assert isinstance(after, dict), after
        for name, value in before.items():
            assert abs(after[name] - value) <= 1e-4 * METRICS[name].scale


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_a_loss_and_its_gradient_are_those_of_a_processor(
    here: Assessor, there: Assessor, speech: Speech, sample_rate: int
) -> None:
    weights = {"mos": 1.0, "pesq": 0.5, "mcd": 0.5}
    recordings = [speech(seconds, seconds, sample_rate=sample_rate) for seconds in (1, 2)]
    waveform, lengths = padded(recordings)
    values, gradients = [], []
    for assessor in (here, there):
        loss = QualityLoss(weights, model=assessor, reduction="none")
        leaf = waveform.to(assessor.device, copy=True).requires_grad_()
        with without_tf32():
            value = loss(leaf, sample_rate=sample_rate, lengths=torch.tensor(lengths))
            value.sum().backward()
        assert value.device == leaf.device
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        values.append(value.detach().cpu())
        gradients.append(leaf.grad.double().cpu())
    torch.testing.assert_close(*values, atol=3e-4, rtol=0)
    # On a processor, that of 32-bit floats is within 1 % of that of 64.
    relative = (gradients[1] - gradients[0]).norm(dim=1) / gradients[0].norm(dim=1)
    assert float(relative.max()) < 0.05


def test_a_loss_in_a_training_loop_of_16_bits(
    gpu: torch.device, demo: dict[str, np.ndarray]
) -> None:
    """As torch comes, with TF32; autocast and a cast of the modules around change nothing."""
    loss = QualityLoss({"mos": 1.0, "pesq": 0.5}, model=urgentmos.load(device="cpu"))
    batch = padded(list(demo.values()))[0]
    expected = loss(batch)
    around = nn.ModuleDict({"enhancer": nn.Conv1d(1, 1, 9, padding=4), "loss": loss})
    around.to(gpu).train().requires_grad_(True)
    batch = batch.to(gpu)
    assert float(loss(batch)) == pytest.approx(float(expected), abs=0.01)
    with torch.autocast(gpu.type, torch.bfloat16):
        inside = loss(batch)
        enhanced = around["enhancer"](batch[:, None])[:, 0]
        loss(enhanced).backward()
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, loss(batch), atol=1e-5, rtol=0)
    gradients = [parameter.grad for parameter in around.parameters()]
    assert len(gradients) == 2
    assert all(torch.isfinite(gradient).all() and gradient.any() for gradient in gradients)
    assert loss.to(torch.bfloat16)(batch).dtype == torch.float32


@pytest.mark.parametrize("moved", [True, False])
def test_a_metric_of_torchmetrics_follows_the_recordings(
    gpu: torch.device, tiny_assessor: Assessor, speech: Speech, moved: bool
) -> None:
    pytest.importorskip("torchmetrics")
    from urgentmos.quality_metric import UrgentMOSMetric

    batch = torch.from_numpy(np.stack([speech(1.0, seed) for seed in range(4)]))
    expected = tiny_assessor.score(batch, 16000)
    metric = UrgentMOSMetric(["mos", "pesq"], model=tiny_assessor)
    if moved:
        metric = metric.to(gpu)
    metric.update(batch[:1].to(gpu))
    metric.update(batch[1:].to(gpu))
    for name, mean in metric.compute().items():
        assert float(mean) == pytest.approx(float(expected[name].mean()), abs=1e-3)
    assert tiny_assessor.device.type == "cpu"
