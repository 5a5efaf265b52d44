"""The default recipe's labels of batches are those of the package's tools."""

import warnings
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
import torch

from urgentmos.labels.dnsmos import Dnsmos, cut_windows
from urgentmos.labels.estoi import Estoi
from urgentmos.labels.labeller import Labeller
from urgentmos.labels.lsd import Lsd
from urgentmos.labels.mcd import Mcd, warping_path
from urgentmos.labels.sdr import Sdr

from .conftest import modules_of_recipe

pytest.importorskip("fast_bss_eval", exc_type=ImportError)
pytest.importorskip("pystoi", exc_type=ImportError)

INTRUSIVE: dict[str, tuple[type[Labeller], float]] = {
    "sdr": (Sdr, 1e-3),
    "lsd": (Lsd, 1e-4),
    "mcd": (Mcd, 1e-4),
    "estoi": (Estoi, 1e-4),
}

Speech = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def batch_labels() -> Iterator[ModuleType]:
    with modules_of_recipe("default", "batch_labels") as modules:
        yield modules["batch_labels"]


def damages(reference: np.ndarray) -> dict[str, np.ndarray]:
    """Damage a reference in ways that go to different ends of the labels."""
    rng = np.random.default_rng(1)
    spectrum = np.fft.rfft(reference)
    kept = np.arange(len(spectrum)) < len(spectrum) // 3
    narrow = np.fft.irfft(np.where(kept, spectrum, 0), len(reference))
    lost = reference.copy()
    lost[8000:20000] = 0
    recordings = {
        "same": reference,
        "quiet": 0.01 * reference,
        "noise": reference + 0.02 * rng.standard_normal(len(reference)),
        "noise alone": 0.1 * rng.standard_normal(len(reference)),
        "clipped": np.clip(8 * reference, -0.3, 0.3),
        "beyond full scale": 8 * reference,
        "low-pass": narrow,
        "lost packets": lost,
        "late": np.roll(reference, 400),
    }
    return {name: recording.astype(np.float32) for name, recording in recordings.items()}


@pytest.mark.parametrize("metric", INTRUSIVE)
@pytest.mark.parametrize("seconds", [3.0, 3.7003])
def test_intrusive_labels_are_those_of_the_tools(
    batch_labels: ModuleType, speech: Speech, metric: str, seconds: float
) -> None:
    reference = speech(seconds=seconds, seed=3)
    recordings = damages(reference)
    tool, tolerance = INTRUSIVE[metric]
    values = getattr(batch_labels, metric)(
        torch.from_numpy(np.stack(list(recordings.values()))),
        torch.from_numpy(reference).expand(len(recordings), -1),
    )
    assert values.dtype == torch.float32
    expected = {name: tool().label(each, reference)[metric] for name, each in recordings.items()}
    assert dict(zip(recordings, values.tolist(), strict=True)) == pytest.approx(
        expected, abs=tolerance
    )


@pytest.mark.parametrize("metric", INTRUSIVE)
def test_what_has_no_label_changes_no_other(
    batch_labels: ModuleType, speech: Speech, metric: str
) -> None:
    reference = torch.from_numpy(speech(seconds=2.0)).repeat(5, 1)
    recording = reference + 0.01 * torch.randn(5, 32000, generator=torch.Generator().manual_seed(0))
    label = getattr(batch_labels, metric)
    expected = label(recording[:1], reference[:1])
    recording[1] = 0.0
    recording[2, 100] = torch.inf
    reference[3] = 0.0
    reference[4, 7] = torch.nan
    values = label(recording, reference)
    torch.testing.assert_close(values[:1], expected)
    assert values[1:].isnan().all()


def test_sdr_of_a_tone_is_none_and_changes_no_other(
    batch_labels: ModuleType, speech: Speech
) -> None:
    impulse = np.zeros(32000, dtype=np.float32)
    # Its autocorrelation, and so the whole matrix, is of equal values.
    constant = np.ones(32000, dtype=np.float32)
    voice = speech(seconds=2.0)
    impulse[5000] = 1.0
    references = np.stack([impulse, constant, voice])
    recordings = references + 0.01 * np.random.default_rng(0).standard_normal(references.shape)
    recordings = recordings.astype(np.float32)
    values = batch_labels.sdr(torch.from_numpy(recordings), torch.from_numpy(references))
    for number in (0, 2):
        expected = Sdr().label(recordings[number], references[number])["sdr"]
        assert values[number] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("metric", "samples"), [("mcd", 1023), ("estoi", 400), ("estoi", 6000)])
def test_what_is_too_short_has_no_label(
    batch_labels: ModuleType, metric: str, samples: int
) -> None:
    noise = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    assert getattr(batch_labels, metric)(noise, noise).isnan().all()


def test_the_path_is_the_tools_where_many_cost_the_same(batch_labels: ModuleType) -> None:
    # Few different frames, as in digital silence: equal costs, exact in either arithmetic.
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 3, (2, 40, 12, 1)).astype(float)
    values = batch_labels.warping.mean_distance(torch.from_numpy(ours), torch.from_numpy(theirs))
    expected = []
    for a, b in zip(ours, theirs, strict=True):
        distance = np.abs(a - b.T)
        expected.append(distance[warping_path(distance)].mean())
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-9)


def test_the_mel_filters_are_librosas(batch_labels: ModuleType) -> None:
    librosa = pytest.importorskip("librosa", exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = librosa.filters.mel(sr=16000, n_fft=321, n_mels=120)
    np.testing.assert_allclose(batch_labels.dnsmos_networks.slaney_filters(), expected.T, atol=1e-8)


# Frames that repeat with the copies of the recording, or do not; one window, or four.
@pytest.mark.parametrize("samples", [80_000, 73_601, 48_000, 52_001])
def test_windows_share_what_they_hear_alike(batch_labels: ModuleType, samples: int) -> None:
    # A recording of whole numbers that tell where they come from.
    recording = np.arange(samples, dtype=np.float32)
    windows = batch_labels.dnsmos_windows.cut_windows(samples, torch.device("cpu"))
    copies = np.tile(recording, 9)
    starts = dict(cut_windows(recording))
    for number, (start, window) in enumerate(starts.items()):
        first = windows.first_frames[number] * 160
        assert first % samples == start
        rows = windows.inner_rows[number].numpy()[:, None] * 320 + np.arange(320)
        inner = np.concatenate(copies[rows])
        np.testing.assert_array_equal(inner, window[640 : 640 + len(inner)])
        edges = windows.edge_frames[number].numpy()[..., None] * 160 + np.arange(160)
        np.testing.assert_array_equal(np.concatenate(copies[edges[0]]), window[:1280])
        np.testing.assert_array_equal(
            np.concatenate(copies[edges[1]]), window[892 * 160 : 900 * 160]
        )


@pytest.fixture(scope="module")
def labels(batch_labels: ModuleType) -> Callable[..., dict[str, torch.Tensor]]:
    pytest.importorskip("onnx", exc_type=ImportError)
    pytest.importorskip("onnxruntime", exc_type=ImportError)
    pytest.importorskip("speechmos", exc_type=ImportError)
    label: Callable[..., dict[str, torch.Tensor]] = batch_labels.BatchLabels("cpu")
    return label


# One window, frame by frame; three, whose frames repeat with the copies.
@pytest.mark.parametrize("samples", [73_601, 48_000])
def test_dnsmos_is_the_tools(labels, speech: Speech, samples: int) -> None:
    recording = speech(seconds=samples / 16000, seed=5)
    noisy = (4 * recording + 0.05 * np.random.default_rng(0).standard_normal(samples)).astype("f")
    assert np.abs(noisy).max() > 1
    batch = torch.from_numpy(np.stack([np.zeros_like(noisy), noisy]))
    values = labels(batch, batch, torch.tensor([False, False]))
    expected = Dnsmos().label(noisy)
    assert {name: values[name][1].item() for name in expected} == pytest.approx(expected, abs=1e-3)
    assert all(value[0].isnan() for value in values.values())
    assert values["sdr"].isnan().all()


def test_gives_every_label_where_there_is_a_reference(labels, speech: Speech) -> None:
    reference = torch.from_numpy(speech(seconds=5.0)).repeat(2, 1)
    noise = torch.randn(2, 80_000, generator=torch.Generator().manual_seed(0))
    recording = reference + 0.01 * noise
    values = labels(recording, reference, torch.tensor([True, False]))
    tools = [tool() for tool, _ in INTRUSIVE.values()] + [Dnsmos()]
    expected: dict[str, float] = {}
    for tool in tools:
        expected |= tool.label(recording[0].numpy(), reference[0].numpy())
    assert {name: value[0].item() for name, value in values.items()} == pytest.approx(
        expected, abs=1e-3
    )
    assert {name for name, value in values.items() if value[1].isnan()} == set(INTRUSIVE)


def test_what_dnsmos_judges_by_is_judged_as_by_the_tool(
    batch_labels: ModuleType, speech: Speech
) -> None:
    """Of the one window that it hears of a recording, without the 10 ms that are added here."""
    pytest.importorskip("onnx", exc_type=ImportError)
    pytest.importorskip("onnxruntime", exc_type=ImportError)
    pytest.importorskip("speechmos", exc_type=ImportError)
    recording = speech(seconds=5.0, seed=5)
    (_, window), *_ = cut_windows(recording)
    dnsmos = batch_labels.BatchDnsmos("cpu")
    peaks = dnsmos.peaks(torch.from_numpy(window[:-160])[None])
    assert peaks.shape == (1, 112, 64)
    expected = Dnsmos().label(recording)
    judged = {name: each.item() for name, each in dnsmos.judge(peaks).items()}
    assert judged == pytest.approx({name: expected[name] for name in judged}, abs=0.02)
    largest = peaks.amax(dim=1, keepdim=True)
    assert dnsmos.judge(largest)["dnsmos_sig"].item() == pytest.approx(judged["dnsmos_sig"])
