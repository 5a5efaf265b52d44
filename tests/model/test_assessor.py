import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from urgentmos.metrics import METRICS
from urgentmos.model.assessor import Assessor, Preference, combine_orders
from urgentmos.model.checkpoint import load_model
from urgentmos.quality_loss import QualityLoss
from urgentmos.scoring import compare_files
from urgentmos.verdict import VERDICTS

Speech = Callable[..., np.ndarray]

_ROOT = Path(__file__).resolve().parent.parent.parent


def test_one_recording_scores_as_in_a_batch(tiny_assessor: Assessor, speech: Speech) -> None:
    a, b = speech(0.5), speech(0.3, seed=1)
    batch = np.zeros((2, len(a)), dtype=np.float32)
    batch[0], batch[1, : len(b)] = a, b
    together = tiny_assessor.score(batch, 16000, lengths=[len(a), len(b)])
    alone = tiny_assessor.score(torch.from_numpy(b), 16000)
    assert list(together) == tiny_assessor.metrics
    for name, score in together.items():
        assert score.shape == (2,)
        assert float(score[1]) == pytest.approx(float(alone[name]), abs=1e-4)


def test_one_metric_may_be_asked_for_by_its_name(
    tiny_assessor: Assessor, speech: Speech, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", speech(0.5), 16000)
    (row,) = tiny_assessor.score_files([tmp_path / "a.wav"], metrics="mos")
    loss = QualityLoss(model=tiny_assessor)
    assert list(row.scores) == ["mos"]
    assert list(tiny_assessor.score(speech(0.5), 16000, metrics="mos")) == ["mos"]
    assert list(loss.scores(torch.from_numpy(speech(0.5))[None], metrics="mos")) == ["mos"]


def test_a_second_run_gives_the_same_scores_to_the_bit(
    tiny_assessor: Assessor, speech: Speech
) -> None:
    first, second = (tiny_assessor.score(speech(0.5), 16000) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_autocast_around_it_changes_no_score(tiny_assessor: Assessor, speech: Speech) -> None:
    a, b = speech(0.5), speech(0.4, seed=1)
    scores, preference = tiny_assessor.score(a, 16000), tiny_assessor.compare(a, b, 16000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(
            torch.equal(score, scores[name])
            for name, score in tiny_assessor.score(a, 16000).items()
        )
        assert tiny_assessor.compare(a, b, 16000) == preference


def test_comparisons_in_bfloat16_mirror_too(tiny_model_dir: Path, speech: Speech) -> None:
    assessor = load_model(tiny_model_dir, precision="bfloat16")
    a, b = speech(0.5), speech(0.4, seed=1)
    forward, backward = assessor.compare(a, b, 16000), assessor.compare(b, a, 16000)
    assert (forward.p_a, forward.p_tie, forward.cmos) == (
        backward.p_b,
        backward.p_tie,
        -backward.cmos,
    )
    assert assessor.compare(a, a, 16000).verdict == "tie"


def test_an_unknown_precision_is_refused(tiny_model_dir: Path) -> None:
    # In a process of its own, where no type checker is before it.
    code = (
        "import sys, urgentmos\n"
        "try: urgentmos.load(sys.argv[1], precision='fp16')\n"
        "except ValueError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tiny_model_dir)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "precision: expected float32 or bfloat16, got 'fp16'\n"


def test_another_sample_rate_is_resampled(tiny_assessor: Assessor) -> None:
    def tone(rate: int) -> np.ndarray:
        time = np.arange(rate) / rate
        return np.sin(2 * np.pi * 440 * time) * np.hanning(rate) + 0.2 * np.sin(9000 * time)

    at_16_khz = tiny_assessor.score(tone(16000), 16000)
    at_48_khz = tiny_assessor.score(tone(48000), 48000)
    for name, score in at_16_khz.items():
        assert float(score) == pytest.approx(float(at_48_khz[name]), abs=2e-2)


def test_lengths_are_resampled_with_the_waveform(tiny_assessor: Assessor, speech: Speech) -> None:
    recording = speech(0.4, sample_rate=44100)
    padded = np.pad(recording, (0, 5000))[None]
    alone = tiny_assessor.score(recording, 44100)
    together = tiny_assessor.score(padded, 44100, lengths=np.array([len(recording)]))
    for name, score in alone.items():
        assert float(score) == pytest.approx(float(together[name]), abs=1e-4)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0, dtype=np.float32), r"empty: its shape is \(0,\)"),
        (np.zeros((0, 5), dtype=np.float32), r"empty: its shape is \(0, 5\)"),
        (
            np.zeros((1, 1, 5), dtype=np.float32),
            r"\(batch, samples\), got \(1, 1, 5\); squeeze\(1\)",
        ),
        (np.zeros((2, 2, 500), dtype=np.float32), r"got \(2, 2, 500\); average the channels"),
        (np.array(3.0), r"\(batch, samples\), got \(\)"),
        (np.array([0.1, np.nan]), r"shape \(2,\) has NaN or infinite samples"),
        (np.array([0.1, np.inf]), r"shape \(2,\) has NaN or infinite samples"),
        (np.array([0.1, -1e25]), r"shape \(2,\) has samples of 1\.0e\+25: full scale is 1"),
        (np.array([0.1, -1e300]), r"shape \(2,\) has samples of more than 3\.4e\+38: full scale"),
        (np.array([1e300, np.inf]), r"shape \(2,\) has NaN or infinite samples"),
        (np.array([0.1, 1e300], np.longdouble), r"has samples of more than 3\.4e\+38: full scale"),
        (np.zeros(9, dtype=np.int16), r"got int16 of shape \(9,\); divide 16-bit samples"),
        (np.zeros(9, dtype=">i2"), r"got >i2 of shape \(9,\); divide 16-bit samples"),
        (np.zeros(9, dtype=object), r"a floating-point waveform .*, got object of shape \(9,\)"),
        (np.zeros(9, dtype=complex), r"a floating-point waveform .*, got complex128 of shape"),
        (np.ma.masked_less(np.arange(9) / 9, 0.1), r"shape \(9,\) has samples that are masked"),
        (np.zeros((9000, 2), dtype=np.float32), r"got \(9000, 2\), which looks like \(samples, ch"),
    ],
)
def test_a_waveform_that_cannot_be_scored_is_refused_by_its_shape(
    tiny_assessor: Assessor, waveform: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_assessor.score(waveform, 16000)


def test_what_is_no_array_is_refused_in_words(tiny_model_dir: Path) -> None:
    # In a process of its own: the type checks of the tests would come first.
    code = (
        "import sys, urgentmos\n"
        "assessor = urgentmos.load(sys.argv[1])\n"
        "for call in (assessor.score, lambda *a: assessor.compare(a[0], *a)):\n"
        "    try: call([0.1] * 8000, 16000)\n"
        "    except TypeError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tiny_model_dir)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    expected = "expected a waveform as a NumPy array or a tensor, got list"
    assert done.stdout.splitlines() == [expected] * 2


def test_a_rate_in_khz_is_refused(tiny_assessor: Assessor, speech: Speech) -> None:
    with pytest.raises(ValueError, match="sample rate 16 Hz lies outside 1000…768000 Hz"):
        tiny_assessor.score(speech(0.3), 16)


def test_arrays_however_they_lie_in_memory_score_alike(
    tiny_assessor: Assessor, speech: Speech
) -> None:
    recording = speech(0.3)
    expected = tiny_assessor.score(recording, 16000)
    read_only = recording.copy()
    read_only.flags.writeable = False
    backward = recording[::-1].copy()[::-1]
    channel = np.stack([recording, -recording], axis=1)[:, 0]
    for same in (read_only, backward, channel, torch.from_numpy(channel)):
        scores = tiny_assessor.score(same, 16000)
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_torchs_default_device_changes_no_score(
    tiny_assessor: Assessor, speech: Speech, tmp_path: Path
) -> None:
    waveform = speech()
    soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")

    def answers() -> tuple[dict[str, list[float]], list[float], Preference, dict[str, float]]:
        scores = tiny_assessor.score(waveform, 16000)
        padded = tiny_assessor.score(
            torch.as_tensor(waveform, device="cpu")[None], 44100, lengths=[9000]
        )
        preference = tiny_assessor.compare(waveform, waveform[:8000], 16000)
        (row,) = tiny_assessor.score_files([tmp_path / "a.wav"])
        return (
            {metric: score.tolist() for metric, score in scores.items()},
            [float(score) for score in padded.values()],
            preference,
            row.scores,
        )

    expected = answers()
    # As a GPU that the model is not on, and found here: its tensors hold nothing.
    torch.set_default_device("meta")
    try:
        assert answers() == expected
    finally:
        torch.set_default_device(None)


def test_scores_may_enter_a_computation_with_gradient(
    tiny_assessor: Assessor, speech: Speech
) -> None:
    weight = torch.ones(1, requires_grad=True)
    (weight * tiny_assessor.score(speech(0.3), 16000)["mos"]).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([5], "expected 2 whole numbers as lengths"),
        (np.array([5.0, 5.0]), "whole numbers"),
        (np.array([True, True]), "whole numbers as lengths, got shape .* of torch.bool"),
        ([True, True], "whole numbers"),
        (np.array(["5", "5"]), "expected 2 whole numbers as lengths, got array"),
        ([2**70, 5], "expected 2 whole numbers as lengths, got .1180591"),
        ([0, 5], "between 1 and 10 samples, got 0 to 5"),
        ([5, 11], "between 1 and 10 samples, got 5 to 11"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(
    tiny_assessor: Assessor, lengths: list[int] | np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_assessor.score(np.ones((2, 10), dtype=np.float32), 16000, lengths=lengths)


def test_a_snippet_too_short_for_a_file_has_scores_and_fails_no_batch(
    tiny_assessor: Assessor, speech: Speech, tmp_path: Path
) -> None:
    recording = speech(0.5)
    snippet = recording[4000:4399]
    soundfile.write(tmp_path / "snippet.wav", snippet, 16000)
    (row,) = tiny_assessor.score_files([tmp_path / "snippet.wav"])
    assert row.error.startswith("too short: 399 samples")
    batch = np.stack([recording, np.pad(snippet, (0, len(recording) - len(snippet)))])
    together = tiny_assessor.score(batch, 16000, lengths=[len(recording), len(snippet)])
    for name, scores in together.items():
        for got, alone in zip(scores, (recording, snippet), strict=True):
            torch.testing.assert_close(
                got, tiny_assessor.score(alone, 16000)[name][0], atol=1e-4, rtol=1e-4
            )
    enhanced = torch.from_numpy(batch).requires_grad_()
    loss = QualityLoss({"pesq": 1.0}, model=tiny_assessor)
    loss(enhanced, lengths=[len(recording), len(snippet)]).backward()
    assert enhanced.grad is not None
    assert bool(enhanced.grad.isfinite().all())


def test_nan_beyond_a_recordings_length_is_no_fault(tiny_assessor: Assessor) -> None:
    waveform = np.array([[0.1, 0.2, np.nan]])
    assert np.isfinite(float(tiny_assessor.score(waveform, 16000, lengths=[2])["mos"]))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.longdouble, ">f2", ">f4", ">f8"])
def test_any_floating_point_type_is_taken(
    tiny_assessor: Assessor, speech: Speech, dtype: type | str
) -> None:
    expected = float(tiny_assessor.score(speech(0.3), 16000)["mos"])
    got = float(tiny_assessor.score(speech(0.3).astype(dtype), 16000)["mos"])
    assert got == pytest.approx(expected, abs=1e-2)


def test_comparisons_mirror_to_the_bit(tiny_assessor: Assessor, speech: Speech) -> None:
    mirrored = dict(zip(VERDICTS, reversed(VERDICTS), strict=True))
    for seed in range(5):
        a, b = speech(0.2 + 0.1 * seed, seed=seed), speech(0.45, seed=seed + 10)
        forward = tiny_assessor.compare(a, b, 16000)
        backward = tiny_assessor.compare(b, a, 16000)
        assert forward.p_a == backward.p_b
        assert forward.p_tie == backward.p_tie
        assert forward.p_b == backward.p_a
        assert forward.cmos == -backward.cmos
        assert backward.verdict == mirrored[forward.verdict]
        assert forward.p_a + forward.p_tie + forward.p_b == pytest.approx(1.0)
        assert forward.p_a != forward.p_b


def test_a_recording_against_itself_is_a_tie(tiny_assessor: Assessor, speech: Speech) -> None:
    for waveform in (speech(0.5), np.zeros(4000, dtype=np.float32), np.ones(1, dtype=np.float32)):
        preference = tiny_assessor.compare(waveform, waveform.copy(), 16000)
        assert preference.verdict == "tie"
        assert preference.p_a == preference.p_b
        assert preference.cmos == 0.0


def test_what_is_said_of_both_orders_is_averaged() -> None:
    preference = combine_orders(
        (0.6, 0.2, 0.2), (0.4, 0.2, 0.4), cmos_forward=0.4, cmos_backward=-0.2
    )
    assert (preference.p_a, preference.p_tie, preference.p_b) == pytest.approx((0.5, 0.2, 0.3))
    assert preference.verdict == "A better"
    assert preference.cmos == pytest.approx(0.3)


def test_orders_that_contradict_each_other_cancel() -> None:
    preference = combine_orders(
        (0.8, 0.1, 0.1), (0.8, 0.1, 0.1), cmos_forward=1.0, cmos_backward=1.0
    )
    assert (preference.p_a, preference.p_b, preference.cmos) == (0.45, 0.45, 0.0)
    assert preference.verdict == "tie"


@pytest.mark.parametrize("part", ["classification_head", "regression_head"])
def test_a_preference_that_is_not_finite_is_refused(
    tiny_assessor: Assessor, speech: Speech, part: str
) -> None:
    preference = tiny_assessor.network.preference
    assert preference is not None
    getattr(preference, part).bias.data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^no finite preference: .*nan"):
        tiny_assessor.compare(speech(0.3), speech(0.4), 16000)


def test_a_batch_cannot_be_compared(tiny_assessor: Assessor) -> None:
    with pytest.raises(ValueError, match=r"one recording of shape \(samples,\), got \(2, 9\)"):
        tiny_assessor.compare(np.ones((2, 9)), np.ones(9), 16000)


def test_scores_carry_no_gradient(tiny_assessor: Assessor) -> None:
    scores = tiny_assessor.score(torch.randn(4000, requires_grad=True), 16000)
    assert not scores["mos"].requires_grad


def _fading(speech: Speech, seconds: float) -> np.ndarray:
    """Speech under noise that grows, so that every part of it differs."""
    samples = round(seconds * 16000)
    noise = np.random.default_rng(0).standard_normal(samples) * np.linspace(0, 0.1, samples)
    return (np.resize(speech(2.0), samples) + noise).astype(np.float32)


class _LargeTensors(TorchDispatchMode):
    """Notes what storage is made, of those that take so many bytes."""

    def __init__(self, *, at_least: int) -> None:
        super().__init__()
        self.at_least = at_least
        self.sizes: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        outputs = func(*args, **(kwargs or {}))
        known = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        for output in _tensors(outputs):
            storage = output.untyped_storage()
            if storage.data_ptr() not in known and storage.nbytes() >= self.at_least:
                self.sizes.append(storage.nbytes())
        return outputs


def _tensors(tree: object) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class TestLongRecordings:
    @pytest.mark.parametrize("sample_rate", [16000, 11025, 44100])
    def test_a_long_recording_scores_as_its_file_does(
        self, tiny_assessor: Assessor, tmp_path: Path, speech: Speech, sample_rate: int
    ) -> None:
        waveform = np.pad(_fading(speech, 41.0), (8000, 40000))
        soundfile.write(tmp_path / "a.wav", waveform, sample_rate, subtype="FLOAT")
        (row,) = tiny_assessor.score_files([tmp_path / "a.wav"])
        scores = tiny_assessor.score(waveform, sample_rate)
        for name, score in scores.items():
            tolerance = 1e-4 * METRICS[name].scale
            assert float(score) == pytest.approx(row.scores[name], abs=tolerance)

    def test_a_pause_where_windows_meet_is_left_out_of_both_as_of_a_file(
        self, tiny_assessor: Assessor, tmp_path: Path, speech: Speech
    ) -> None:
        waveform = _fading(speech, 30.0)
        waveform[13 * 16000 : 17 * 16000] = 0.0
        soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
        (row,) = tiny_assessor.score_files([tmp_path / "a.wav"])
        for name, score in tiny_assessor.score(waveform, 16000).items():
            tolerance = 1e-4 * METRICS[name].scale
            assert float(score) == pytest.approx(row.scores[name], abs=tolerance)

    def test_a_batch_with_a_long_recording_scores_each_as_alone(
        self, tiny_assessor: Assessor, speech: Speech
    ) -> None:
        long, short = _fading(speech, 26.0), speech(3.0)
        batch = np.zeros((2, len(long)), np.float32)
        batch[0], batch[1, : len(short)] = long, short
        together = tiny_assessor.score(batch, 16000, lengths=[len(long), len(short)])
        for index, waveform in enumerate((long, short)):
            for name, score in tiny_assessor.score(waveform, 16000).items():
                tolerance = 1e-4 * METRICS[name].scale
                assert float(together[name][index]) == pytest.approx(float(score), abs=tolerance)

    def test_the_network_never_hears_more_than_a_window(
        self, tiny_assessor: Assessor, speech: Speech, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard: list[int] = []
        encode = tiny_assessor.network.encode

        def listen(waveform: torch.Tensor, lengths: torch.Tensor, **options: object) -> object:
            heard.append(waveform.numel())
            return encode(waveform, lengths, **options)

        monkeypatch.setattr(tiny_assessor.network, "encode", listen)
        waveform = _fading(speech, 61.0)
        tiny_assessor.score(waveform, 16000)
        tiny_assessor.compare(waveform, waveform[: 35 * 16000], 16000)
        assert len(heard) == 4 + 2 * 4
        assert max(heard) == 16 * 16000

    @pytest.mark.parametrize(
        ("silent_s", "copies"), [(0.0, 0), (0.5, 1)], ids=["no silence", "silence at both ends"]
    )
    def test_beyond_a_window_memory_is_that_of_one_copy_where_silence_is_cut(
        self, tiny_assessor: Assessor, speech: Speech, silent_s: float, copies: int
    ) -> None:
        silence = np.zeros(round(silent_s * 16000), np.float32)
        part = _fading(speech, 60.0)
        waveform = torch.from_numpy(np.concatenate([silence, np.tile(part, 5), silence]))
        with _LargeTensors(at_least=waveform.nbytes // 4) as large:
            tiny_assessor.score(waveform, 16000)
            assert sum(large.sizes) <= copies * waveform.nbytes
            tiny_assessor.windows(waveform, 16000)
        assert sum(large.sizes) <= 2 * copies * waveform.nbytes

    def test_long_comparisons_are_those_of_files_and_mirror(
        self, tiny_assessor: Assessor, tmp_path: Path, speech: Speech
    ) -> None:
        a, b = _fading(speech, 52.0), _fading(speech, 33.0)[::-1].copy()
        for name, waveform in (("a", a), ("b", b)):
            soundfile.write(tmp_path / f"{name}.wav", waveform, 16000, subtype="FLOAT")
        (row,) = compare_files(tiny_assessor, [(tmp_path / "a.wav", tmp_path / "b.wav")])
        forward, backward = tiny_assessor.compare(a, b, 16000), tiny_assessor.compare(b, a, 16000)
        assert row.preference is not None
        assert forward.cmos == pytest.approx(row.preference.cmos, abs=1e-5)
        assert forward.p_a == pytest.approx(row.preference.p_a, abs=1e-5)
        assert (forward.p_a, forward.cmos) == (backward.p_b, -backward.cmos)


def test_digital_silence_at_the_edges_changes_nothing(
    tiny_assessor: Assessor, speech: Speech
) -> None:
    waveform = speech(1.5)
    scores = tiny_assessor.score(waveform, 16000)
    for before, after in ((0, 48000), (700, 0), (16000, 80000)):
        padded = np.pad(waveform, (before, after))
        for name, score in tiny_assessor.score(padded, 16000).items():
            assert float(score) == pytest.approx(
                float(scores[name]), abs=1e-4 * METRICS[name].scale
            )
        assert tiny_assessor.compare(padded, waveform, 16000).cmos == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("sample_rate", [16000, 48000])
def test_scoring_and_comparing_need_no_float64(
    tiny_assessor: Assessor, speech: Speech, without_float64, sample_rate: int
) -> None:
    a, b = torch.from_numpy(speech(0.4)), torch.from_numpy(speech(0.5, seed=1))
    with without_float64:
        scores = tiny_assessor.score(a, sample_rate)
        preference = tiny_assessor.compare(a, b, sample_rate)
    assert set(scores) == set(tiny_assessor.metrics)
    assert preference.p_a + preference.p_tie + preference.p_b == pytest.approx(1, abs=1e-12)
