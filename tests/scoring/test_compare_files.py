from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.model.assessor import Assessor
from urgentmos.scoring import compare_files

Speech = Callable[..., np.ndarray]


@pytest.fixture
def files(tmp_path: Path, speech: Speech) -> dict[float, Path]:
    paths = {}
    for seconds in (0.3, 2.0, 6.0, 33.0, 52.0):
        paths[seconds] = tmp_path / f"{seconds}.wav"
        samples = round(seconds * 16000)
        repeated = np.resize(speech(min(seconds, 2.0), seed=int(10 * seconds)), samples)
        noise = np.random.default_rng(0).standard_normal(samples) * np.linspace(0, 0.1, samples)
        soundfile.write(paths[seconds], repeated + noise, 16000)
    return paths


@pytest.mark.parametrize("pair", [(2.0, 6.0), (0.3, 2.0), (6.0, 33.0), (52.0, 33.0)])
def test_swapping_a_and_b_mirrors_the_result_exactly(
    tiny_assessor: Assessor, files: dict[float, Path], pair: tuple[float, float]
) -> None:
    a, b = files[pair[0]], files[pair[1]]
    forward, backward = compare_files(tiny_assessor, [(a, b), (b, a)])
    assert forward.preference is not None
    assert backward.preference is not None
    assert forward.preference.p_a == backward.preference.p_b
    assert forward.preference.p_b == backward.preference.p_a
    assert forward.preference.p_tie == backward.preference.p_tie
    assert forward.preference.cmos == -backward.preference.cmos
    assert (forward.mos_a, forward.mos_b) == (backward.mos_b, backward.mos_a)


@pytest.mark.parametrize("seconds", [0.3, 2.0, 33.0])
def test_a_recording_ties_with_itself(
    tiny_assessor: Assessor, files: dict[float, Path], seconds: float
) -> None:
    (comparison,) = compare_files(tiny_assessor, [(files[seconds], files[seconds])])
    assert comparison.preference is not None
    assert comparison.verdict == "tie"
    assert comparison.preference.p_a == comparison.preference.p_b
    assert comparison.preference.cmos == 0


def test_a_short_enough_pair_is_compared_as_the_model_does(
    tiny_assessor: Assessor, files: dict[float, Path]
) -> None:
    (comparison,) = compare_files(tiny_assessor, [(files[2.0], files[6.0])])
    a, b = (soundfile.read(files[s], dtype="float32")[0] for s in (2.0, 6.0))
    preference = tiny_assessor.compare(a, b, 16000)
    assert comparison.preference == preference
    assert comparison.verdict == comparison.to_record()["verdict"] == preference.verdict
    assert comparison.mos_a == pytest.approx(float(tiny_assessor.score(a, 16000)["mos"][0]))


def test_each_of_two_recordings_has_its_own_flags(
    tiny_assessor: Assessor, files: dict[float, Path], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", soundfile.read(files[2.0])[0], 8000)
    (comparison,) = compare_files(tiny_assessor, [(tmp_path / "a.wav", files[0.3])])
    assert (comparison.flags_a, comparison.flags_b) == (("resampled",), ("short",))
    record = comparison.to_record()
    assert (record["flags_a"], record["flags_b"]) == ("resampled", "short")


def test_windows_of_unequal_recordings_meet_in_time(
    tiny_assessor: Assessor, files: dict[float, Path]
) -> None:
    (comparison,) = compare_files(tiny_assessor, [(files[52.0], files[33.0])])
    long, short = (soundfile.read(files[s], dtype="float32")[0] for s in (52.0, 33.0))
    rate = 16000
    # 52 s: windows at 0, 15, 30, 44 s; 33 s: at 0, 15, 25 s, one met twice. Own times by hand.
    starts_a, own_a = (0, 15, 30, 44), (15.5, 15.0, 14.5, 7.0)
    starts_b, own_b = (0, 0, 15, 25), (15.5, 15.5, 12.5, 5.0)
    weights = [(a + b) / 2 for a, b in zip(own_a, own_b, strict=True)]
    met = [
        tiny_assessor.compare(
            long[a * rate : (a + 16) * rate], short[b * rate : (b + 16) * rate], rate
        )
        for a, b in zip(starts_a, starts_b, strict=True)
    ]
    expected = sum(w * p.cmos for w, p in zip(weights, met, strict=True)) / sum(weights)
    assert comparison.preference is not None
    assert comparison.preference.cmos == pytest.approx(expected, abs=1e-5)


def test_a_bad_recording_fails_its_pair_only(
    tiny_assessor: Assessor, files: dict[float, Path], tmp_path: Path
) -> None:
    missing = tmp_path / "missing.wav"
    pairs = [(files[2.0], missing), (missing, missing), (files[2.0], files[6.0])]
    comparisons = list(compare_files(tiny_assessor, pairs))
    assert [comparison.status for comparison in comparisons] == ["failed", "failed", "ok"]
    assert comparisons[0].error == "B: no such file"
    assert comparisons[1].error == "A: no such file; B: no such file"
    assert comparisons[0].to_record()["p_a"] is None


def test_a_pair_that_the_model_cannot_compare_fails_alone(
    tiny_assessor: Assessor, files: dict[float, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = tiny_assessor.compare

    def fail_once(*arguments: object) -> object:
        monkeypatch.setattr(tiny_assessor, "compare", compare)
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(tiny_assessor, "compare", fail_once)
    pair = (files[0.3], files[2.0])
    failed, whole = compare_files(tiny_assessor, [pair, pair])
    assert (failed.status, failed.error) == ("failed", "the model failed: division by zero")
    assert whole.status == "ok"


def test_a_preference_that_is_not_finite_fails_its_pair_with_its_reason(
    tiny_assessor: Assessor, files: dict[float, Path]
) -> None:
    assert tiny_assessor.network.preference is not None
    tiny_assessor.network.preference.classification_head.bias.data.fill_(np.nan)
    (comparison,) = compare_files(tiny_assessor, [(files[0.3], files[2.0])])
    assert comparison.status == "failed"
    assert comparison.error.startswith("the model failed: no finite preference: P(A better) nan")
    assert comparison.to_record()["verdict"] == ""


def test_a_wrong_number_of_workers_is_told_by_the_call(tiny_assessor: Assessor) -> None:
    # And not when the first comparison is asked for, which may be elsewhere.
    with pytest.raises(ValueError, match="workers must be 0 or more, got -1"):
        compare_files(tiny_assessor, [], workers=-1)
