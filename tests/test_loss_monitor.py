import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from urgentmos.loss_monitor import HeadsPartedWarning, LossMonitor
from urgentmos.metrics import UnknownMetricError
from urgentmos.model.assessor import Assessor
from urgentmos.quality_loss import QualityLoss

Speech = Callable[..., np.ndarray]
Scores = dict[str, float]


@pytest.fixture
def loss(tiny_assessor: Assessor) -> QualityLoss:
    return QualityLoss({"mos": 1.0}, model=tiny_assessor)


@pytest.fixture
def read(
    loss: QualityLoss, monkeypatch: pytest.MonkeyPatch
) -> Callable[[LossMonitor, Scores], dict[str, float]]:
    """Take one reading of given scores, and return what parted."""

    def take(monitor: LossMonitor, scores: Scores) -> dict[str, float]:
        given = {name: torch.full((2,), score) for name, score in scores.items()}
        monkeypatch.setattr(loss, "scores", lambda *_, **__: given)
        monitor.update(torch.zeros(2, 16000))
        return dict(monitor.compute().parted)

    return take


def test_scores_are_means_over_all_recordings_of_a_reading(
    loss: QualityLoss, tiny_assessor: Assessor, speech: Speech
) -> None:
    recordings = torch.from_numpy(np.stack([speech(0.4, seed=seed) for seed in range(3)]))
    monitor = LossMonitor(loss)
    monitor.update(recordings[:2])
    monitor.update(recordings[2:])
    reading = monitor.compute()
    expected = tiny_assessor.score(recordings, 16000)
    assert set(reading.scores) == set(tiny_assessor.metrics)
    assert reading.scores["lsd"] == pytest.approx(float(expected["lsd"].mean()), abs=1e-4)
    monitor.update(recordings[:1])
    first = float(expected["mos"][0])
    assert monitor.compute().scores["mos"] == pytest.approx(first, abs=1e-4)


def test_torchs_default_device_has_no_say(loss: QualityLoss, speech: Speech) -> None:
    recording = torch.from_numpy(speech(0.4))[None]
    monitors = [LossMonitor(loss, held_out=["lsd"]) for _ in range(2)]
    readings = []
    for monitor, device in zip(monitors, ("cpu", "meta"), strict=True):
        with torch.device(device):
            monitor.update(recording, measured={"estoi": [0.5]})
            readings.append(monitor.compute())
    assert readings[0] == readings[1]


def test_a_head_that_falls_while_the_loss_gains_has_parted(loss: QualityLoss, read) -> None:
    monitor = LossMonitor(loss, held_out=["estoi", "lsd"])
    assert not read(monitor, {"mos": 2.0, "estoi": 0.8, "lsd": 5.0})
    with pytest.warns(HeadsPartedWarning, match=r"mos, in the loss.*estoi by 10 % of its range"):
        parted = read(monitor, {"mos": 3.0, "estoi": 0.7, "lsd": 4.0})
    assert parted == {"estoi": pytest.approx(0.1)}


def test_the_direction_of_a_metric_counts(loss: QualityLoss, read) -> None:
    monitor = LossMonitor(loss, held_out=["lsd"])
    read(monitor, {"mos": 2.0, "lsd": 5.0})
    with pytest.warns(HeadsPartedWarning):
        assert read(monitor, {"mos": 3.0, "lsd": 6.0}) == {"lsd": pytest.approx(0.1)}


@pytest.mark.parametrize("name", ["mos", "estoi"])
def test_a_reading_with_nan_hides_no_later_fall(loss: QualityLoss, read, name: str) -> None:
    monitor = LossMonitor(loss, held_out=["estoi"])
    assert not read(monitor, {"mos": 2.0, "estoi": 0.9} | {name: float("nan")})
    assert not read(monitor, {"mos": 2.0, "estoi": 0.8})
    with pytest.warns(HeadsPartedWarning):
        assert read(monitor, {"mos": 3.0, "estoi": 0.7}) == {"estoi": pytest.approx(0.1)}


def test_a_fall_after_a_rise_is_seen(loss: QualityLoss, read) -> None:
    monitor = LossMonitor(loss, held_out=["estoi"])
    assert not read(monitor, {"mos": 2.0, "estoi": 0.5})
    assert not read(monitor, {"mos": 3.0, "estoi": 0.8})
    with pytest.warns(HeadsPartedWarning):
        assert read(monitor, {"mos": 4.0, "estoi": 0.7}) == {"estoi": pytest.approx(0.1)}


@pytest.mark.parametrize(
    "later",
    [
        {"mos": 3.0, "estoi": 0.79},  # within the tolerance
        {"mos": 3.0, "estoi": 0.9},  # both better
        {"mos": 1.5, "estoi": 0.5},  # both worse: bad training, no gaming
        {"mos": 2.0, "estoi": 0.5},  # the loss gained nothing
    ],
)
def test_other_changes_are_no_parting(loss: QualityLoss, read, later: Scores) -> None:
    monitor = LossMonitor(loss, held_out=["estoi"])
    read(monitor, {"mos": 2.0, "estoi": 0.8})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not read(monitor, later)


def test_parting_is_by_more_than_the_tolerance_of_both(loss: QualityLoss, read) -> None:
    # A quarter of the range, which binary numbers hold exactly.
    for later, parted in (
        ({"mos": 3.5, "estoi": 0.25}, {}),
        ({"mos": 3.0, "estoi": 0.125}, {}),
        ({"mos": 3.5, "estoi": 0.125}, {"estoi": 0.375}),
    ):
        monitor = LossMonitor(loss, held_out=["estoi"], tolerance=0.25)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HeadsPartedWarning)
            read(monitor, {"mos": 2.0, "estoi": 0.5})
            assert read(monitor, later) == parted


def test_two_percent_of_the_range_are_tolerated_unless_told_otherwise(
    loss: QualityLoss, read
) -> None:
    for later, parts in ((0.481, False), (0.479, True)):
        monitor = LossMonitor(loss, held_out=["estoi"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HeadsPartedWarning)
            read(monitor, {"mos": 2.0, "estoi": 0.5})
            assert bool(read(monitor, {"mos": 3.0, "estoi": later})) == parts


def test_weights_below_zero_count_by_their_size(tiny_assessor: Assessor, speech: Speech) -> None:
    loss = QualityLoss({"mos": 1.0, "lsd": -1.0}, model=tiny_assessor)
    monitor = LossMonitor(loss)
    for _ in range(2):
        monitor.update(torch.from_numpy(speech(0.4))[None])
        assert not monitor.compute().parted


def test_a_metric_of_weight_zero_can_be_held_out(tiny_assessor: Assessor) -> None:
    loss = QualityLoss({"mos": 1.0, "lsd": 0.0}, model=tiny_assessor)
    assert LossMonitor(loss, held_out=["lsd"]).held_out == ["lsd"]
    assert "lsd" in LossMonitor(loss).held_out


def test_no_gradient_is_kept(loss: QualityLoss, speech: Speech) -> None:
    waveform = torch.from_numpy(speech(0.4))[None].requires_grad_()
    monitor = LossMonitor(loss)
    monitor.update(waveform * 1.0)
    monitor.compute()
    assert waveform.grad is None
    assert loss(waveform).requires_grad


def test_what_is_measured_takes_the_place_of_the_head(loss: QualityLoss, speech: Speech) -> None:
    recording = torch.from_numpy(speech(0.4))[None]
    monitor = LossMonitor(loss, held_out=["estoi"])
    monitor.update(recording, measured={"estoi": torch.tensor([0.25])})
    assert monitor.compute().scores["estoi"] == 0.25


def test_what_is_measured_is_watched_where_there_is_no_head(
    loss: QualityLoss, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "spksim" not in loss.metrics
    recording = torch.from_numpy(speech(0.4))[None]
    monitor = LossMonitor(loss, held_out=["estoi"])
    for mos, spksim in ((2.0, 0.9), (3.0, 0.4)):
        scores = {"mos": torch.tensor([mos]), "estoi": torch.tensor([0.5])}
        monkeypatch.setattr(loss, "scores", lambda *_, scores=scores, **__: scores)
        monitor.update(recording, measured={"spksim": torch.tensor([spksim])})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HeadsPartedWarning)
            reading = monitor.compute()
    assert reading.scores["spksim"] == pytest.approx(0.4)
    assert list(reading.parted) == ["spksim"]
    # A metric that is no longer measured is no longer watched.
    monitor.update(recording)
    assert not monitor.compute().parted


def test_what_is_measured_is_held_against_what_was_measured_and_not_predicted(
    loss: QualityLoss, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = torch.from_numpy(speech(0.4))[None]
    monitor = LossMonitor(loss, held_out=["estoi"])
    parted = []
    for mos, predicted, measured in (
        (2.0, 0.9, None),
        (3.0, 0.9, 0.6),
        (4.0, 0.8, None),
        (5.0, 0.8, 0.4),
    ):
        scores = {"mos": torch.tensor([mos]), "estoi": torch.tensor([predicted])}
        monkeypatch.setattr(loss, "scores", lambda *_, scores=scores, **__: scores)
        given = {} if measured is None else {"estoi": torch.tensor([measured], requires_grad=True)}
        monitor.update(recording, measured=given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HeadsPartedWarning)
            parted.append(dict(monitor.compute().parted))
    assert parted[:2] == [{}, {}]
    assert [each["estoi"] for each in parted[2:]] == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ({"mos": [1.0]}, "not in the loss, got mos"),
        ({"spksin": [1.0]}, "did you mean 'spksim'"),
        ({"lsd": [1.0]}, r"the same measured metrics at each call before compute\(\), got lsd"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    loss: QualityLoss, speech: Speech, measured: dict[str, list[float]], told: str
) -> None:
    recording = torch.from_numpy(speech(0.4))[None]
    monitor = LossMonitor(loss, held_out=["estoi"])
    monitor.update(recording)
    with pytest.raises(ValueError, match=told):
        monitor.update(recording, measured=measured)
    assert set(monitor.compute().scores) == {"mos", "estoi"}


@pytest.mark.parametrize("measured", [np.array([0.25, 0.75]), [0.25, 0.75]])
def test_what_is_measured_may_come_as_arrays_and_lists(
    loss: QualityLoss, speech: Speech, measured: np.ndarray | list[float]
) -> None:
    recordings = torch.from_numpy(np.stack([speech(0.4), speech(0.4, seed=1)]))
    monitor = LossMonitor(loss, held_out=["estoi"])
    monitor.update(recordings, measured={"estoi": measured})
    assert monitor.compute().scores["estoi"] == 0.5


@pytest.mark.parametrize("measured", [0.25, [0.25]])
def test_a_mean_in_place_of_measured_values_is_refused(
    loss: QualityLoss, speech: Speech, measured: float | list[float]
) -> None:
    recordings = torch.from_numpy(np.stack([speech(0.4), speech(0.4, seed=1)]))
    monitor = LossMonitor(loss, held_out=["estoi"])
    with pytest.raises(ValueError, match="expected 2 values of estoi, one for each recording"):
        monitor.update(recordings, measured={"estoi": torch.tensor(measured)})


def test_a_reading_of_nothing_is_refused(loss: QualityLoss) -> None:
    with pytest.raises(ValueError, match=r"expected update\(\) before compute\(\)"):
        LossMonitor(loss).compute()


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -0.1])
def test_a_tolerance_that_means_nothing_is_refused(loss: QualityLoss, tolerance: float) -> None:
    with pytest.raises(ValueError, match=f"expected a tolerance of 0 or more.* got {tolerance}"):
        LossMonitor(loss, tolerance=tolerance)


def test_what_is_measured_may_differ_from_reading_to_reading(
    loss: QualityLoss, speech: Speech
) -> None:
    recording = torch.from_numpy(speech(0.4))[None]
    monitor = LossMonitor(loss, held_out=["estoi"])
    for measured in ({}, {"spksim": [0.5]}, {}, {"lsd": [3.0]}, {"spksim": [0.5]}):
        monitor.update(recording, measured=measured)
        assert set(monitor.compute().scores) == {"mos", "estoi", *measured}


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        (["mos"], "held out of the loss, got mos"),
        ([], "held out of the loss, got none"),
        (["utmos"], "does not predict 'utmos'"),
    ],
)
def test_metrics_that_cannot_be_held_out_are_refused(
    loss: QualityLoss, held_out: list[str], message: str
) -> None:
    with pytest.raises((UnknownMetricError, ValueError), match=message):
        LossMonitor(loss, held_out=held_out)
