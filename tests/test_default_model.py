"""What the shipped weights promise, beyond what holds for any weights."""

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

import urgentmos
from urgentmos.audio import read_audio
from urgentmos.metrics import METRICS
from urgentmos.model.assessor import Assessor
from urgentmos.scoring import score_files

RECORDINGS = Path(__file__).parents[1] / "recipes" / "demo" / "recordings"
Scores = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    return urgentmos.load()


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return read_audio(RECORDINGS / "clean.flac").waveform


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    return read_audio(RECORDINGS / "noise_severe.flac").waveform


def _largest_change(scores: Scores, others: Scores) -> float:
    """As a share of the metric's range."""
    return max(
        float((score - others[name]).abs().max()) / METRICS[name].scale
        for name, score in scores.items()
    )


def test_a_score_belongs_to_the_recording(
    assessor: Assessor, clean: np.ndarray, noisy: np.ndarray
) -> None:
    alone = assessor.score(clean, 16000)
    batch = np.zeros((3, 2 * len(clean)), np.float32)
    batch[0, : len(noisy)], batch[1, : len(clean)] = noisy, clean
    batch[2] = np.tile(noisy, 2)
    lengths = [len(noisy), len(clean), 2 * len(noisy)]
    together = assessor.score(batch, 16000, lengths=lengths)
    assert _largest_change(alone, {name: each[1:2] for name, each in together.items()}) <= 1e-4


@pytest.mark.parametrize("num_threads", [1, 2])
def test_threads_batches_and_a_second_run_change_no_score(
    assessor: Assessor, num_threads: int
) -> None:
    expected = {Path(row.path): row.scores for row in score_files(assessor, [RECORDINGS])}
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        rows = list(score_files(assessor, [RECORDINGS], batch_seconds=1.0, workers=0))
    finally:
        torch.set_num_threads(before)
    assert len(rows) == len(expected) == 5
    for row in rows:
        for name, score in row.scores.items():
            assert abs(score - expected[Path(row.path)][name]) <= 1e-4 * METRICS[name].scale


def test_bfloat16_moves_a_score_little_and_a_batch_moves_it_less(
    assessor: Assessor, clean: np.ndarray, noisy: np.ndarray
) -> None:
    """The bounds that the README states, as shares of the metric's range."""
    halved = urgentmos.load(precision="bfloat16")
    for path in sorted(RECORDINGS.iterdir()):
        waveform = read_audio(path).waveform
        scores = halved.score(waveform, 16000)
        assert 0 < _largest_change(scores, assessor.score(waveform, 16000)) <= 0.02
    lengths = [len(noisy), len(clean)]
    batch = np.zeros((2, max(lengths) + 16000), np.float32)
    batch[0, : len(noisy)], batch[1, : len(clean)] = noisy, clean
    together = halved.score(batch, 16000, lengths=lengths)
    alone = halved.score(clean, 16000)
    assert _largest_change(alone, {name: each[1:] for name, each in together.items()}) <= 0.01


@pytest.mark.parametrize("gain_db", [-40, -20, 10, 20])
def test_gain_without_clipping_changes_no_score(
    assessor: Assessor, clean: np.ndarray, noisy: np.ndarray, gain_db: float
) -> None:
    gain = np.float32(10 ** (gain_db / 20))
    for waveform in (clean, noisy):
        scores = assessor.score(waveform, 16000)
        assert _largest_change(scores, assessor.score(gain * waveform, 16000)) <= 1e-4


@pytest.mark.parametrize("seconds", [0.5, 5.0])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_digital_silence_before_and_after_changes_no_score(
    assessor: Assessor, clean: np.ndarray, noisy: np.ndarray, seconds: float, rate: int
) -> None:
    silence = round(seconds * rate)
    loss = urgentmos.QualityLoss(model=assessor)
    for recording in (clean, noisy):
        waveform = soxr.resample(recording, 16000, rate)
        scores = assessor.score(waveform, rate)
        for edges in ((silence, 0), (0, silence)):
            padded = np.pad(waveform, edges)
            assert _largest_change(scores, assessor.score(padded, rate)) <= 1e-4
            assert assessor.compare(waveform, padded, rate).cmos == pytest.approx(0, abs=1e-3)
            heard = loss.scores(
                torch.from_numpy(padded)[None], sample_rate=rate, metrics=assessor.metrics
            )
            assert _largest_change(scores, heard) <= (1e-4 if rate == 16000 else 2e-3)


@pytest.mark.parametrize("metric", ["mos", "pesq"])
def test_the_more_is_clipped_the_lower_quality_is_on_average(
    assessor: Assessor, metric: str
) -> None:
    recordings = [read_audio(path).waveform for path in sorted(RECORDINGS.iterdir())]
    means = []
    for below_peak_db in (0, 10, 15, 20):
        scores = []
        for waveform in recordings:
            limit = np.abs(waveform).max() * 10 ** (-below_peak_db / 20)
            clipped = waveform.clip(-limit, limit)
            scores.append(float(assessor.score(clipped, 16000, metrics=[metric])[metric]))
        means.append(np.mean(scores))
    assert means == sorted(means, reverse=True)


def test_noise_lowers_quality_and_the_clean_recording_is_preferred(
    assessor: Assessor, clean: np.ndarray, noisy: np.ndarray
) -> None:
    with_noise, without = assessor.score(noisy, 16000), assessor.score(clean, 16000)
    for metric in ("mos", "pesq", "estoi", "dnsmos_ovrl", "distill_mos"):
        assert float(with_noise[metric]) < float(without[metric]), metric
    assert assessor.compare(clean, noisy, 16000).verdict == "A better"
    assert assessor.compare(noisy, clean, 16000).verdict == "B better"


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(16000, np.float32),
        np.full(16000, 0.5, np.float32),
        np.ones(1, np.float32),
        np.eye(1, 80000, 40000, dtype=np.float32)[0],
        1e6 * np.sin(np.arange(32000, dtype=np.float32)),
    ],
    ids=["silence", "DC", "one sample", "a click in silence", "far beyond full scale"],
)
def test_what_is_no_speech_scores_in_range(assessor: Assessor, waveform: np.ndarray) -> None:
    for name, score in assessor.score(waveform, 16000).items():
        metric = METRICS[name]
        assert bool(torch.isfinite(score).all())
        assert metric.low is None or float(score) >= metric.low
        assert metric.high is None or float(score) <= metric.high


def test_the_loss_hears_another_rate_as_a_file_of_it_is_heard(
    assessor: Assessor, clean: np.ndarray, noisy: np.ndarray
) -> None:
    """Within 0.2 % of a metric's range: its resampling, which passes gradient, is another one."""
    loss = urgentmos.QualityLoss(weights={"mos": 1.0})
    for waveform in (clean, noisy):
        for sample_rate in (44100, 48000):
            given = soxr.resample(waveform, 16000, sample_rate)
            heard = loss.scores(
                torch.from_numpy(given)[None], sample_rate=sample_rate, metrics=assessor.metrics
            )
            assert 0 < _largest_change(assessor.score(given, sample_rate), heard) <= 2e-3
