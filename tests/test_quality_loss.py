import contextlib
import copy
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from urgentmos.metrics import METRICS, UnknownMetricError, get_metric
from urgentmos.model.assessor import Assessor
from urgentmos.model.encoders import Encoder
from urgentmos.quality_loss import QualityLoss, as_numbers, distance_from_best
from urgentmos.resampling import resample

Speech = Callable[..., np.ndarray]


def _saved_and_loaded(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # noqa: TID251 - its own file


@pytest.fixture
def enhanced(speech: Speech) -> torch.Tensor:
    return torch.from_numpy(np.stack([speech(0.4), speech(0.4, seed=1)]))


@pytest.mark.parametrize("name", METRICS)
def test_better_scores_lose_less(name: str) -> None:
    metric = get_metric(name)
    worse, better = torch.tensor([1.0]), torch.tensor([2.0])
    if not metric.higher_is_better:
        worse, better = better, worse
    assert float(distance_from_best(metric, better)) < float(distance_from_best(metric, worse))


def test_a_perfect_score_loses_nothing_and_the_worst_loses_one() -> None:
    assert float(distance_from_best(get_metric("mos"), torch.tensor([5.0]))) == 0
    assert float(distance_from_best(get_metric("mos"), torch.tensor([1.0]))) == 1
    assert float(distance_from_best(get_metric("mcd"), torch.tensor([0.0]))) == 0
    assert float(distance_from_best(get_metric("sdr"), torch.tensor([25.0]))) == -0.5


def test_the_loss_is_the_weighted_sum_of_its_metrics(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    loss = QualityLoss({"mos": 2.0, "lsd": 0.5}, model=tiny_assessor, reduction="none")
    scores = tiny_assessor.score(enhanced, 16000)
    expected = 2.0 * (5 - scores["mos"]) / 4 + 0.5 * scores["lsd"] / 10
    torch.testing.assert_close(loss(enhanced), expected, atol=1e-5, rtol=0)


def test_scores_of_metrics_outside_the_loss_can_be_asked_for(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    scores = QualityLoss({"mos": 1.0}, model=tiny_assessor).scores(enhanced, metrics=["lsd"])
    assert set(scores) == {"lsd"}
    expected = tiny_assessor.score(enhanced, 16000)["lsd"]
    torch.testing.assert_close(scores["lsd"], expected, atol=1e-5, rtol=0)


def test_reductions_agree(tiny_assessor: Assessor, enhanced: torch.Tensor) -> None:
    mean, total, each = (
        QualityLoss(model=tiny_assessor, reduction=reduction)(enhanced)
        for reduction in ("mean", "sum", "none")
    )
    assert each.shape == (2,)
    torch.testing.assert_close(each.mean(), mean)
    torch.testing.assert_close(each.sum(), total)


def test_a_reduction_can_be_set_later(tiny_assessor: Assessor, enhanced: torch.Tensor) -> None:
    loss = QualityLoss(model=tiny_assessor)
    loss.reduction = "none"
    assert loss(enhanced).shape == (2,)


def test_an_unknown_reduction_is_refused_in_words() -> None:
    # In an interpreter of its own: here, types are checked before.
    code = (
        "import urgentmos; loss = urgentmos.QualityLoss()\n"
        "for refused in (lambda: setattr(loss, 'reduction', 'median'),\n"
        "                lambda: urgentmos.QualityLoss(reduction='median')):\n"
        "    try: refused()\n"
        "    except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 2 * "expected a reduction of mean, sum, none, got 'median'\n"


def test_gradient_descends(tiny_assessor: Assessor, enhanced: torch.Tensor) -> None:
    loss = QualityLoss({"mos": 1.0, "pesq": 1.0}, model=tiny_assessor)
    waveform = enhanced.clone().requires_grad_()
    before = loss(waveform)
    before.backward()
    assert waveform.grad is not None
    step = 1e-4 * waveform.grad / waveform.grad.norm()
    assert float(loss(enhanced - step)) < before.item()


def test_gradient_flows_back_through_resampling(tiny_assessor: Assessor, speech: Speech) -> None:
    waveform = torch.from_numpy(speech(0.3, sample_rate=48000))[None].requires_grad_()
    QualityLoss(model=tiny_assessor)(waveform, sample_rate=48000).backward()
    assert waveform.grad is not None
    assert float((waveform.grad != 0).float().mean()) > 0.9
    scores = tiny_assessor.score(waveform.detach(), 48000)
    ours = QualityLoss(model=tiny_assessor).scores(waveform, sample_rate=48000)
    torch.testing.assert_close(ours["mos"].detach(), scores["mos"], atol=1e-4, rtol=0)


def test_padding_has_no_part_in_the_loss(tiny_assessor: Assessor, enhanced: torch.Tensor) -> None:
    loss = QualityLoss(model=tiny_assessor, reduction="none")
    padded = torch.nn.functional.pad(enhanced, (0, 3000), value=0.7).requires_grad_()
    losses = loss(padded, lengths=torch.tensor([6400, 6400]))
    torch.testing.assert_close(losses, loss(enhanced), atol=1e-5, rtol=0)
    losses.sum().backward()
    assert padded.grad is not None
    assert bool((padded.grad[:, 6400:] == 0).all())


def test_lengths_of_any_whole_type_are_taken_and_wrong_ones_refused(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    loss = QualityLoss(model=tiny_assessor)
    expected = loss(enhanced, lengths=torch.tensor([6400, 5000]))
    for dtype in (torch.int32, torch.uint16, torch.uint64):
        assert torch.equal(
            loss(enhanced, lengths=torch.tensor([6400, 5000], dtype=dtype)), expected
        )
    assert torch.equal(loss(enhanced, lengths=[6400, 5000]), expected)
    for lengths in ([6400, 6401], [0, 6400]):
        with pytest.raises(ValueError, match="expected lengths between 1 and 6400 samples"):
            loss(enhanced, lengths=torch.tensor(lengths))


def test_a_long_recording_loses_as_it_scores_with_gradient_everywhere(
    tiny_assessor: Assessor, speech: Speech
) -> None:
    rng = np.random.default_rng(0)
    waveform = np.resize(speech(2.0), 22 * 16000) + 0.02 * rng.standard_normal(22 * 16000)
    long = torch.from_numpy(waveform.astype(np.float32))[None].requires_grad_()
    loss = QualityLoss({"mos": 1.0}, model=tiny_assessor)
    value = loss(long)
    expected = distance_from_best(METRICS["mos"], tiny_assessor.score(long.detach(), 16000)["mos"])
    torch.testing.assert_close(value.detach(), expected[0], atol=1e-5, rtol=0)
    value.backward()
    assert long.grad is not None
    assert float((long.grad != 0).float().mean()) > 0.99


def test_digital_silence_at_the_edges_has_no_part_in_the_loss(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    loss = QualityLoss(model=tiny_assessor, reduction="none")
    padded = torch.nn.functional.pad(enhanced, (5000, 9000))
    torch.testing.assert_close(loss(padded), loss(enhanced), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seconds", [1.0, 20.0])
def test_silence_has_its_loss_and_no_gradient(
    tiny_assessor: Assessor, speech: Speech, seconds: float
) -> None:
    heard = torch.from_numpy(np.resize(speech(1.0), round(seconds * 16000)))
    # Speech 80 dB down, in which nothing is digital silence.
    batch = torch.stack([heard, heard * 1e-4]).requires_grad_()
    loss = QualityLoss(model=tiny_assessor, reduction="none")(batch)
    loss.sum().backward()
    expected = tiny_assessor.score(batch.detach(), 16000)["mos"]
    torch.testing.assert_close(
        loss.detach(), distance_from_best(METRICS["mos"], expected), atol=1e-5, rtol=0
    )
    assert batch.grad is not None
    assert batch.grad[0].any()
    assert not batch.grad[1].any()


@pytest.mark.parametrize("sample", [1e20, torch.inf, torch.nan])
def test_a_recording_that_diverged_has_no_loss_and_leaves_the_others_theirs(
    tiny_assessor: Assessor, enhanced: torch.Tensor, sample: float
) -> None:
    loss = QualityLoss(model=tiny_assessor, reduction="none")
    batch = enhanced.detach().clone()
    batch[1, 100] = sample
    losses = loss(batch.requires_grad_())
    assert losses.isnan().tolist() == [row == 1 for row in range(len(batch))]
    torch.testing.assert_close(losses[0], loss(enhanced)[0], atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(losses[losses.isfinite()].mean(), batch)
    assert gradient[0].any()
    assert gradient.isfinite().all()
    assert not gradient[1].any()


def test_what_lies_in_the_padding_does_not_matter(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    loss = QualityLoss(model=tiny_assessor)
    lengths = [enhanced.shape[1]] * len(enhanced)
    for beyond in (float("nan"), 1e20):
        padded = torch.nn.functional.pad(enhanced, (0, 500), value=beyond)
        torch.testing.assert_close(loss(padded, lengths=lengths), loss(enhanced), atol=1e-5, rtol=0)


def test_a_long_recording_may_be_changed_between_loss_and_gradient(
    tiny_assessor: Assessor, speech: Speech
) -> None:
    network_output = torch.from_numpy(np.resize(speech(2.0), 17 * 16000))[None].requires_grad_()
    gradients = []
    for is_changed in (False, True):
        enhanced = 1.0 * network_output
        value = QualityLoss(model=tiny_assessor)(enhanced)
        if is_changed:
            with torch.no_grad():
                enhanced.clamp_(-0.01, 0.01)
        gradients += torch.autograd.grad(value, network_output)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_padding_does_not_ring_into_a_resampled_recording(
    tiny_assessor: Assessor, speech: Speech
) -> None:
    recording = torch.from_numpy(speech(0.4, sample_rate=48000))[None]
    padded = torch.nn.functional.pad(recording, (0, 4000), value=100.0)
    loss = QualityLoss(model=tiny_assessor)
    torch.testing.assert_close(
        loss(padded, sample_rate=48000, lengths=torch.tensor([recording.shape[1]])),
        loss(recording, sample_rate=48000),
        atol=1e-5,
        rtol=0,
    )


def test_the_last_sample_of_a_resampled_recording_is_heard(tiny_assessor: Assessor) -> None:
    # At 16 kHz, sample 6400 is the last one; without it the click would be half as loud.
    recording = 0.001 * torch.cos(torch.arange(19201.0) / 20)[None]
    recording[0, -1] = 0.9
    expected = tiny_assessor.score(resample(recording, from_rate=48000, to_rate=16000), 16000)
    scores = QualityLoss(model=tiny_assessor).scores(recording, sample_rate=48000)
    torch.testing.assert_close(scores["mos"], expected["mos"], atol=1e-5, rtol=0)


def test_an_assessor_in_training_is_put_in_evaluation(tiny_assessor: Assessor) -> None:
    tiny_assessor.network.train()
    QualityLoss(model=tiny_assessor)
    assert not any(module.training for module in tiny_assessor.network.modules())


def test_modules_around_it_cannot_wake_or_store_it(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    loss = QualityLoss(model=tiny_assessor)
    parent = nn.ModuleDict({"enhancer": nn.Linear(2, 2), "loss": loss})
    before = loss(enhanced)
    parent.train().requires_grad_(True)
    assert not tiny_assessor.network.training
    assert not any(p.requires_grad for p in tiny_assessor.network.parameters())
    assert set(parent.state_dict()) == {"enhancer.weight", "enhancer.bias"}
    assert len(list(parent.parameters())) == 2
    assert torch.equal(loss(enhanced), before)


def test_a_cast_of_the_modules_around_it_leaves_its_weights_in_32_bits(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    loss = QualityLoss(model=tiny_assessor)
    before = loss(enhanced)
    nn.Sequential(loss).to(torch.bfloat16)
    assert torch.equal(loss(enhanced), before)
    nn.Sequential(loss).to("meta")
    assert tiny_assessor.device == torch.device("meta")


@pytest.mark.parametrize("copied", [copy.deepcopy, _saved_and_loaded], ids=["deepcopy", "saved"])
def test_a_copy_of_the_modules_around_it_loses_alike(
    tiny_assessor: Assessor, enhanced: torch.Tensor, copied: Callable[[nn.Module], nn.Module]
) -> None:
    loss = QualityLoss(model=tiny_assessor)
    (copy_of_loss,) = copied(nn.Sequential(loss))
    assert torch.equal(copy_of_loss(enhanced), loss(enhanced))


@contextlib.contextmanager
def _sixteen_bits_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "around",
    [lambda: torch.device("meta"), _sixteen_bits_by_default, torch.inference_mode],
    ids=["meta device", "16 bits", "inference mode"],
)
def test_it_can_be_made_where_a_network_is_made_in_another_way(
    tiny_model_dir: Path, enhanced: torch.Tensor, around: Callable[[], AbstractContextManager[None]]
) -> None:
    """As transformers' ``from_pretrained`` makes networks on the meta device, in 16 bits."""
    with around():
        loss = QualityLoss(model=tiny_model_dir)
    value = loss(enhanced.requires_grad_())
    value.backward()
    assert torch.equal(value, QualityLoss(model=tiny_model_dir)(enhanced))
    assert value.dtype == torch.float32
    assert enhanced.grad is not None
    assert enhanced.grad.any()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 6400), r"shape \(batch, samples\), got \(2, 1, 6400\); squeeze\(1\) takes away"),
        ((2, 3, 6400), r"got \(2, 3, 6400\); average the channels, .*\.mean\(1\)$"),
        ((2, 6400, 3), r"got \(2, 6400, 3\); average the channels, .*\.mean\(2\)$"),
        ((6400, 2), r"got \(6400, 2\), which looks like \(samples, channels\): .*\.mean\(1\)$"),
        ((0, 6400), r"shape \(batch, samples\), got \(0, 6400\)$"),
        ((6400,), r"shape \(batch, samples\), got \(6400,\); unsqueeze\(0\) makes"),
    ],
)
def test_waveforms_of_another_shape_are_refused(
    tiny_assessor: Assessor, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        QualityLoss(model=tiny_assessor)(torch.zeros(shape))


def test_waveforms_on_another_device_are_refused(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    loss = QualityLoss(model=tiny_assessor).to("meta")
    with pytest.raises(ValueError, match=r"are on cpu, the loss is on meta.* to\('cpu'\)"):
        loss(enhanced)


def test_a_rate_in_khz_is_refused(tiny_assessor: Assessor, enhanced: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="sample rate 16 Hz lies outside"):
        QualityLoss(model=tiny_assessor)(enhanced, sample_rate=16)


def test_autocast_changes_nothing(tiny_assessor: Assessor, enhanced: torch.Tensor) -> None:
    loss = QualityLoss(model=tiny_assessor)
    waveform = enhanced.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(waveform)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss(waveform))
    inside.backward()
    assert waveform.grad is not None
    assert waveform.grad.dtype == torch.bfloat16


def test_a_second_derivative_is_there_where_its_docstring_says(
    tiny_assessor: Assessor, enhanced: torch.Tensor
) -> None:
    waveform = enhanced.requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        value = QualityLoss(model=tiny_assessor)(waveform)
        (gradient,) = torch.autograd.grad(value, waveform, create_graph=True)
        gradient.square().sum().backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()
    assert waveform.grad.any()


def test_an_enhancer_learns_through_it(tiny_assessor: Assessor, enhanced: torch.Tensor) -> None:
    torch.manual_seed(0)
    enhancer = nn.Conv1d(1, 1, 9, padding=4)
    loss = QualityLoss({"mos": 1.0}, model=tiny_assessor)
    optimizer = torch.optim.Adam(enhancer.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        value = loss(enhancer(enhanced[:, None])[:, 0])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]


def test_it_shows_what_it_is_made_of(tiny_assessor: Assessor) -> None:
    loss = QualityLoss({"mos": 1.0, "pesq": 0.5}, model=tiny_assessor)
    assert repr(loss) == "QualityLoss(weights={mos: 1, pesq: 0.5}, reduction='mean')"


def test_an_encoder_without_gradient_is_refused_with_its_reason(tiny_assessor: Assessor) -> None:
    encoder = tiny_assessor.network.encoders[1]
    assert isinstance(encoder, Encoder)
    encoder.differentiable = False
    encoder.gradient_note = "its features go through numpy"
    with pytest.raises(ValueError, match=r"encoder 1 .*cannot be a loss: its features go through"):
        QualityLoss(model=tiny_assessor)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"utmos": 1.0}, "does not predict 'utmos'"),
        ({"peqs": 1.0}, "did you mean 'pesq'"),
        ({}, "at least one metric with a weight"),
        ({"mos": 0.0}, "at least one metric with a weight"),
        ({"mos": float("nan")}, "weights that are finite numbers"),
        ({"mos": 1.0, "mos_overall": 0.5}, "named twice"),
    ],
)
def test_weights_that_name_no_metric_of_the_model_are_refused(
    tiny_assessor: Assessor, weights: dict[str, float], message: str
) -> None:
    with pytest.raises((UnknownMetricError, ValueError), match=message):
        QualityLoss(weights, model=tiny_assessor)


# Without the loss around it, since the tests' type checks would refuse them first.
@pytest.mark.parametrize(
    "weights",
    [
        ["mos"], {"mos": "1"}, {"mos": None}, {1: 1.0}, {"mos": torch.ones(2)}, {"mos": 10**400},
    ],
)  # fmt: skip
def test_weights_that_are_no_numbers_by_name_are_refused_in_words(weights: Any) -> None:
    with pytest.raises(TypeError, match=r"expected weights such as \{'mos': 1.0, 'pesq': 0.5\}"):
        as_numbers(weights)


def test_weights_may_be_numbers_of_other_libraries() -> None:
    weights = as_numbers({"mos": np.float32(0.5), "pesq": torch.tensor(2)})
    assert weights == {"mos": 0.5, "pesq": 2.0}
    assert {type(weight) for weight in weights.values()} == {float}


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_loss_and_gradient_need_no_float64(
    tiny_assessor: Assessor, enhanced: torch.Tensor, without_float64, sample_rate: int
) -> None:
    loss = QualityLoss(model=tiny_assessor)
    with pytest.raises(TypeError, match="float64"), without_float64:
        enhanced.double()
    with without_float64:
        loss(enhanced.requires_grad_(), sample_rate=sample_rate).backward()
    assert torch.isfinite(enhanced.grad).all()


_WORKER = """
import sys, numpy, safetensors.torch, torch
from torch.nn.parallel import DistributedDataParallel
from urgentmos.quality_loss import QualityLoss
rank, store, model, batch, output = sys.argv[1:]
torch.distributed.init_process_group("gloo", f"file://{store}", rank=int(rank), world_size=2)
torch.manual_seed(int(rank))  # DDP gives both the weights of the first
enhancer = torch.nn.Conv1d(1, 1, 9, padding=4)
with_loss = torch.nn.ModuleDict({"enhancer": enhancer, "loss": QualityLoss(model=model)})
class Step(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = with_loss
    def forward(self, noisy):
        return self.parts["loss"](self.parts["enhancer"](noisy[:, None])[:, 0])
step = DistributedDataParallel(Step())
noisy = torch.from_numpy(numpy.load(batch))[int(rank)::2]
step(noisy).backward()
named = dict(enhancer.named_parameters())
gradients = {name: parameter.grad for name, parameter in named.items()}
at = {f"at {name}": parameter.detach() for name, parameter in named.items()}
safetensors.torch.save_file(gradients | at, output + rank)
torch.distributed.destroy_process_group()
"""


def test_two_processes_get_the_gradient_of_the_batch_of_both(
    tiny_assessor: Assessor, tiny_model_dir: Path, speech: Speech, tmp_path: Path
) -> None:
    """In DistributedDataParallel, with the loss inside of what it wraps."""
    noisy = np.stack([speech(0.4, seed=seed) for seed in range(4)])
    np.save(tmp_path / "batch.npy", noisy)
    places = [tmp_path / "store", tiny_model_dir, tmp_path / "batch.npy", tmp_path / "gradient"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(rank), *map(str, places)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for worker in workers:
        _, told = worker.communicate(timeout=600)
        assert worker.returncode == 0, told
    first, second = (load_file(f"{places[-1]}{rank}") for rank in range(2))
    enhancer = nn.Conv1d(1, 1, 9, padding=4)
    enhancer.load_state_dict({name: first[f"at {name}"] for name in ("weight", "bias")})
    loss = QualityLoss(model=tiny_assessor)
    loss(enhancer(torch.from_numpy(noisy)[:, None])[:, 0]).backward()
    for name, parameter in enhancer.named_parameters():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], parameter.grad, rtol=1e-3, atol=1e-6)
        assert first[name].any()
