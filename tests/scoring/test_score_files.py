import math
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from urgentmos.audio import AudioError
from urgentmos.metrics import METRICS, UnknownMetricError
from urgentmos.model.assessor import Assessor
from urgentmos.scoring import Row, score_files

Speech = Callable[..., np.ndarray]


@pytest.fixture
def folder(tmp_path: Path, speech: Speech) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for item, seconds in enumerate((3.0, 0.4, 22.0, 1.0, 5.5, 2.0)):
        soundfile.write(folder / f"{item}.wav", _long(speech, seconds, seed=item), 16000)
    return folder


def _long(speech: Speech, seconds: float, seed: int) -> np.ndarray:
    """Repeat two seconds of speech, fading, so that every window differs."""
    samples = round(seconds * 16000)
    repeated = np.resize(speech(min(seconds, 2.0), seed=seed), samples)
    noise = np.random.default_rng(seed).standard_normal(samples).astype(np.float32)
    return repeated + np.linspace(0, 0.1, samples, dtype=np.float32) * noise


def _scores(rows: Iterator[Row]) -> dict[str, dict[str, float]]:
    return {row.path: row.scores for row in rows}


def _assert_equal(a: dict[str, dict[str, float]], b: dict[str, dict[str, float]]) -> None:
    assert set(a) == set(b)
    for path, scores in a.items():
        for metric, score in scores.items():
            assert abs(score - b[path][metric]) <= 1e-4 * METRICS[metric].scale, (path, metric)


def test_rows_come_in_order_with_all_metrics(tiny_assessor: Assessor, folder: Path) -> None:
    rows = list(score_files(tiny_assessor, [folder]))
    assert [Path(row.path).name for row in rows] == [f"{item}.wav" for item in range(6)]
    for row in rows:
        assert (row.status, row.error, row.sample_rate, row.channels) == ("ok", "", 16000, 1)
        assert list(row.scores) == tiny_assessor.metrics
        assert row.model.startswith(f"{tiny_assessor.model_hash}+")
    assert [row.duration_s for row in rows] == [3.0, 0.4, 22.0, 1.0, 5.5, 2.0]
    assert [row.flags for row in rows] == [(), ("short",), (), (), (), ()]


def test_batches_workers_order_and_company_change_no_score(
    tiny_assessor: Assessor, folder: Path
) -> None:
    reference = _scores(score_files(tiny_assessor, [folder]))
    files = [Path(path) for path in reference]
    _assert_equal(reference, _scores(score_files(tiny_assessor, [folder], batch_seconds=0.1)))
    _assert_equal(reference, _scores(score_files(tiny_assessor, [folder], batch_seconds=7.0)))
    _assert_equal(reference, _scores(score_files(tiny_assessor, [folder], workers=0)))
    _assert_equal(reference, _scores(score_files(tiny_assessor, [folder], workers=4)))
    _assert_equal(reference, _scores(score_files(tiny_assessor, files[::-1])))
    alone = {}
    for file in files:
        alone.update(_scores(score_files(tiny_assessor, [file])))
    _assert_equal(reference, alone)


def test_a_second_run_gives_the_same_rows(tiny_assessor: Assessor, folder: Path) -> None:
    assert list(score_files(tiny_assessor, [folder])) == list(score_files(tiny_assessor, [folder]))


def test_torchs_default_dtype_changes_no_row(tiny_assessor: Assessor, folder: Path) -> None:
    expected = list(score_files(tiny_assessor, [folder]))
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert list(score_files(tiny_assessor, [folder])) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_files_have_their_rows_as_they_are_named(
    tiny_assessor: Assessor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = min(folder.iterdir()).name
    monkeypatch.chdir(folder)
    given = [f"./{name}", name, f"./{name}", ""]
    rows = list(score_files(tiny_assessor, given))
    assert [row.path for row in rows] == given
    assert [row.error for row in rows] == ["", "", "", "no such file"]
    assert rows[0].scores == rows[2].scores


def test_only_the_metrics_asked_for_are_given(tiny_assessor: Assessor, folder: Path) -> None:
    (row,) = score_files(tiny_assessor, [folder / "0.wav"], metrics=["mos_overall", "pesq"])
    assert list(row.scores) == ["mos", "pesq"]


def test_a_metric_named_twice_is_given_once(tiny_assessor: Assessor, folder: Path) -> None:
    (row,) = score_files(tiny_assessor, [folder / "0.wav"], metrics=["mos", "pesq", "mos_overall"])
    assert list(row.scores) == ["mos", "pesq"]


def test_wrong_usage_is_told_before_anything_is_scored(
    tiny_assessor: Assessor, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnknownMetricError, match="did you mean 'pesq'"):
        score_files(tiny_assessor, [folder], metrics=["peqs"])
    for batch_seconds in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="batch_seconds"):
            score_files(tiny_assessor, [folder], batch_seconds=batch_seconds)
    with pytest.raises(ValueError, match="workers must be 0 or more, got -1"):
        score_files(tiny_assessor, [folder], workers=-1)
    with pytest.raises(TypeError, match="workers as a whole number, 0 or more, got True"):
        score_files(tiny_assessor, [folder], workers=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match="no audio in folder"):
        score_files(tiny_assessor, [tmp_path / "empty"])


class TestLongRecordings:
    def test_the_score_is_that_of_the_windows_by_time(
        self, tiny_assessor: Assessor, tmp_path: Path, speech: Speech
    ) -> None:
        waveform = _long(speech, 41.0, seed=3)
        soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
        (row,) = score_files(tiny_assessor, [tmp_path / "a.wav"])
        assert [(window.start_s, window.end_s) for window in row.timeline] == [
            (0.0, 16.0), (15.0, 31.0), (30.0, 41.0),
        ]  # fmt: skip
        # By hand: overlaps are parted at 15.5 s and 30.5 s.
        for metric in tiny_assessor.metrics:
            first, second, third = (
                float(tiny_assessor.score(waveform[start:end], 16000)[metric][0])
                for start, end in ((0, 256000), (240000, 496000), (480000, 656000))
            )
            expected = (15.5 * first + 15.0 * second + 10.5 * third) / 41.0
            assert row.scores[metric] == pytest.approx(expected, abs=1e-4 * METRICS[metric].scale)

    def test_the_score_depends_on_neither_the_container_nor_the_blocks_it_is_read_in(
        self,
        tiny_assessor: Assessor,
        tmp_path: Path,
        speech: Speech,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # All of it is a whole number of 16-bit steps, which every one of these holds exactly.
        samples = np.round(16384 * _long(speech, 50.0, seed=4)).astype(np.int16)
        as_float = samples.astype(np.float32) / 32768
        soundfile.write(tmp_path / "a.wav", samples, 16000)
        soundfile.write(tmp_path / "b.flac", samples, 16000)
        soundfile.write(tmp_path / "c.aiff", samples, 16000, subtype="PCM_24")
        soundfile.write(tmp_path / "d.wav", as_float, 16000, subtype="FLOAT")
        soundfile.write(tmp_path / "e.w64", np.stack([samples, samples], axis=1), 16000)
        (first, *others) = score_files(tiny_assessor, [tmp_path])
        assert len(first.timeline) == 4
        assert len(others) == 4
        # Blocks that fit neither a window nor the 15 s between two, and one that holds it all.
        monkeypatch.setattr("urgentmos.audio._MAX_BLOCK_SAMPLES", 1 << 20)
        for block_s in (0.7, 3.3, 60.0):
            monkeypatch.setattr("urgentmos.audio._BLOCK_S", block_s)
            others += score_files(tiny_assessor, [tmp_path / "a.wav", tmp_path / "b.flac"])
        for row in others:
            assert row.duration_s == first.duration_s
            _assert_equal({"": row.scores}, {"": first.scores})
            for window, its_first in zip(row.timeline, first.timeline, strict=True):
                assert (window.start_s, window.end_s) == (its_first.start_s, its_first.end_s)
                _assert_equal({"": window.scores}, {"": its_first.scores})

    def test_an_hour_takes_bounded_memory(
        self, tiny_assessor: Assessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Constant frames compress to nearly nothing: an hour in a small file.
        soundfile.write(tmp_path / "hour.flac", np.zeros(3600 * 16000, np.int16), 16000)

        def score(waveform: Tensor, sample_rate: int, **_: object) -> dict[str, Tensor]:
            return {"mos": torch.full((len(waveform),), 3.0)}

        monkeypatch.setattr(tiny_assessor, "score", score)
        tracemalloc.start()
        try:
            (row,) = score_files(tiny_assessor, [tmp_path / "hour.flac"], metrics=["mos"])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (row.duration_s, row.flags, row.scores) == (3600.0, ("silent",), {"mos": 3.0})
        assert len(row.timeline) == 240
        # The hour itself would be 230 MB.
        assert peak < 60e6


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_digital_silence_at_the_edges_is_left_out_and_flagged(
    tiny_assessor: Assessor, tmp_path: Path, speech: Speech, sample_rate: int
) -> None:
    recording = speech(2.5, sample_rate=sample_rate)
    edges = [(0, 0), (0, 100), (3 * sample_rate, 0), (sample_rate, 18 * sample_rate)]
    for index, edge in enumerate(edges):
        soundfile.write(tmp_path / f"{index}.wav", np.pad(recording, edge), sample_rate)
    rows = list(score_files(tiny_assessor, [tmp_path]))
    for row in rows:
        for metric, score in row.scores.items():
            assert abs(score - rows[0].scores[metric]) <= 1e-4 * METRICS[metric].scale
    assert ["edge_silence" in row.flags for row in rows] == [False, False, True, True]
    assert [row.duration_s for row in rows] == pytest.approx([2.5, 2.5, 5.5, 21.5], abs=0.01)
    assert rows[3].timeline[0].start_s == pytest.approx(1.0, abs=0.01)
    assert rows[3].timeline[0].end_s == pytest.approx(3.5, abs=0.01)


def test_sound_of_less_than_a_second_between_silences_is_short(
    tiny_assessor: Assessor, tmp_path: Path, speech: Speech
) -> None:
    soundfile.write(tmp_path / "a.wav", np.pad(speech(0.5), 16000), 16000)
    (row,) = score_files(tiny_assessor, [tmp_path / "a.wav"])
    assert row.flags == ("edge_silence", "short")


class TestBadFiles:
    """Every kind of bad file has its row, and the good ones around it are scored."""

    @pytest.fixture
    def rows(self, tiny_assessor: Assessor, tmp_path: Path, speech: Speech) -> dict[str, Row]:
        folder = tmp_path / "bad"
        folder.mkdir()
        good = speech(1.5, seed=9)
        writes = {
            "a_good": (good, 16000, "PCM_16"),
            "eight_bit": (good, 16000, "PCM_U8"),
            "24_bit": (good, 16000, "PCM_24"),
            "float64": (good, 16000, "DOUBLE"),
            "4_khz": (speech(1.5, seed=9, sample_rate=4000), 4000, "PCM_16"),
            "192_khz": (speech(1.5, seed=9, sample_rate=192000), 192000, "PCM_16"),
            "8_channels": (np.stack([good] * 8, axis=1), 16000, "PCM_16"),
            "one_sample": (good[:1], 16000, "PCM_16"),
            "20_ms": (good[:320], 16000, "PCM_16"),
            "half_second": (good[:8000], 16000, "PCM_16"),
            "silence": (np.zeros(16000), 16000, "PCM_16"),
            "dc": (np.full(16000, 0.5), 16000, "PCM_16"),
            "clipped": (np.clip(20 * good, -1, 1), 16000, "PCM_16"),
            "nan": (np.where(np.arange(len(good)) == 8000, np.nan, good), 16000, "FLOAT"),
            "infinity": (np.where(np.arange(len(good)) == 8000, np.inf, good), 16000, "FLOAT"),
            "huge": (good.astype(np.float64) * 1e30, 16000, "FLOAT"),
            "no_samples": (good[:0], 16000, "PCM_16"),
            "z_good": (good, 16000, "PCM_16"),
        }
        for name, (samples, rate, subtype) in writes.items():
            soundfile.write(folder / f"{name}.wav", samples, rate, subtype=subtype)
        content = (folder / "a_good.wav").read_bytes()
        (folder / "truncated.wav").write_bytes(content[: len(content) * 2 // 3])
        (folder / "zero_bytes.wav").touch()
        (folder / "text.wav").write_text("this is not audio\n" * 10)
        (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
        paths = [*sorted(folder.iterdir()), folder / "missing.wav"]
        return {Path(row.path).stem: row for row in score_files(tiny_assessor, paths)}

    def test_each_has_its_row(self, rows: dict[str, Row]) -> None:
        failed = {name: row.error for name, row in rows.items() if row.status == "failed"}
        assert failed == {
            "20_ms": "too short: 320 samples, 20 ms; at least 25 ms is needed",
            "gone": "no such file",
            "huge": failed["huge"],  # the level, to the digits of float32
            "infinity": "infinite samples, the first at 0.500 s",
            "missing": "no such file",
            "nan": "NaN samples, the first at 0.500 s",
            "no_samples": "no samples: the file has a header and no audio",
            "one_sample": "too short: 1 samples, 0.0625 ms; at least 25 ms is needed",
            "text": "not readable as audio: Format not recognised",
            "zero_bytes": "empty file (0 bytes)",
        }
        assert "where full scale is 1: not audio, or damaged" in failed["huge"]
        assert len(rows) == 23

    def test_flags_say_what_was_odd(self, rows: dict[str, Row]) -> None:
        flags = {name: row.flags for name, row in rows.items() if row.status == "ok" and row.flags}
        assert flags == {
            "192_khz": ("resampled",),
            "4_khz": ("resampled",),
            "8_channels": ("multichannel",),
            "clipped": ("clipped",),
            "dc": ("silent",),
            "half_second": ("short",),
            "silence": ("silent",),
            "truncated": ("truncated", "short"),
        }

    def test_what_was_not_read_to_its_end_is_not_called_short(self, rows: dict[str, Row]) -> None:
        for name in ("nan", "infinity", "huge"):
            assert (rows[name].duration_s, rows[name].flags) == (None, ())
            assert rows[name].sample_rate == 16000
        assert rows["20_ms"].duration_s == 0.02

    def test_scores_lie_in_range(self, rows: dict[str, Row]) -> None:
        for row in rows.values():
            for name, score in row.scores.items():
                metric = METRICS[name]
                assert metric.low is None or score >= metric.low
                assert metric.high is None or score <= metric.high

    def test_failed_rows_have_no_scores(self, rows: dict[str, Row]) -> None:
        assert all(not row.scores for row in rows.values() if row.status == "failed")

    def test_the_same_audio_scores_the_same_in_any_container(self, rows: dict[str, Row]) -> None:
        for name in ("24_bit", "float64", "8_channels", "z_good"):
            assert rows[name].scores == pytest.approx(rows["a_good"].scores, abs=0.01)


def test_a_file_that_vanishes_during_the_run_gets_a_failed_row(
    tiny_assessor: Assessor, folder: Path
) -> None:
    rows = score_files(tiny_assessor, [folder], batch_seconds=0.1, workers=0)
    first = next(rows)
    (folder / "4.wav").unlink()
    statuses = [first.status, *(row.status for row in rows)]
    assert statuses == ["ok", "ok", "ok", "ok", "failed", "ok"]


def test_an_abandoned_run_leaves_no_thread_and_no_file(
    tiny_assessor: Assessor, folder: Path
) -> None:
    rows = score_files(tiny_assessor, [folder], batch_seconds=0.1)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    assert not [link for link in links if os.path.realpath(link).startswith(str(folder))]


def test_a_recording_that_fails_after_its_first_window_has_neither_scores_nor_a_timeline(
    tiny_assessor: Assessor, tmp_path: Path, speech: Speech
) -> None:
    waveform = np.resize(speech(2.0), 40 * 16000)
    waveform[39 * 16000] = np.nan
    soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
    (row,) = score_files(tiny_assessor, [tmp_path / "a.wav"], batch_seconds=16.0)
    assert row.error == "NaN samples, the first at 39.000 s"
    assert (row.scores, row.timeline) == ({}, ())
