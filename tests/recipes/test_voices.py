"""The default recipe's further voices: other rates, and the side of what they were made of."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from urgentmos.simulate.levels import speech_level_db

from .conftest import RECIPES, load_script, run_script

RATES = (0.88, 1.3)


def make(audio: Path, output: Path, *options: str) -> list[dict[str, str]]:
    """Prepare and make two voices of every recording, or as many as the options say; their list."""
    sources = audio.parent / "sources.jsonl"
    prepared = run_script("default/prepare.py", audio, "--output", sources)
    assert prepared.returncode == 0, prepared.stderr
    made = run_script(
        "default/voices.py",
        sources,
        "--audio",
        audio,
        "--output",
        output,
        "--copies",
        "2",
        *options,
    )
    assert made.returncode == 0, made.stderr
    return [json.loads(line) for line in (output / "sources.jsonl").read_text().splitlines()]


@pytest.fixture
def audio(tmp_path: Path, speech: Callable[..., np.ndarray]) -> Path:
    """A recording of each of six speakers."""
    folder = tmp_path / "audio"
    for number in range(6):
        path = folder / "clean" / "corpus" / f"speaker{number}" / "a.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, speech(1.0, number), 16000)
    return folder


def test_voices_are_faster_or_slower_and_keep_level_and_side(
    tmp_path: Path, audio: Path, speech: Callable[..., np.ndarray]
) -> None:
    noise = audio / "noise" / "street" / "n.wav"
    noise.parent.mkdir(parents=True)
    soundfile.write(noise, 0.01 * speech(1.0, 9), 16000)

    listed = make(audio, tmp_path / "voices")
    sources = map(json.loads, (tmp_path / "sources.jsonl").read_text().splitlines())
    sides = {row["speaker"]: row["split"] for row in sources}
    voices = [row for row in listed if row["kind"] == "clean"]
    assert len(voices) == 12
    assert len({row["speaker"] for row in voices}) == 12
    lengths = set()
    for row in voices:
        voice, rate = soundfile.read(tmp_path / "voices" / row["path"])
        speaker = row["speaker"].split("@")[0]
        original, _ = soundfile.read(audio / "clean" / "corpus" / speaker / "a.wav")
        assert rate == 16000
        assert 1 / RATES[1] - 0.01 < len(voice) / len(original) < 1 / RATES[0] + 0.01
        assert np.abs(voice).max() < 1
        assert speech_level_db(voice) <= speech_level_db(original) + 0.01
        assert row["split"] == sides[speaker]
        lengths.add(len(voice))
    assert len(lengths) > 6

    (kept,) = (row for row in listed if row["kind"] == "noise")
    assert Path(kept["path"]) == noise

    again = make(audio, tmp_path / "again")
    assert [row["speaker"] for row in again] == [row["speaker"] for row in listed]
    first, second = (
        folder / voices[0]["path"] for folder in (tmp_path / "voices", tmp_path / "again")
    )
    assert first.read_bytes() == second.read_bytes()

    # Copies are numbered, so that a later run makes others, or the same by itself.
    later = make(audio, tmp_path / "later", "--copies", "1", "--first", "1")
    voices_later = [row for row in later if row["kind"] == "clean"]
    assert [row["path"] for row in voices_later] == [row["path"] for row in voices[1::2]]
    same = (folder / voices[1]["path"] for folder in (tmp_path / "voices", tmp_path / "later"))
    assert len({path.read_bytes() for path in same}) == 1


@pytest.fixture
def conditions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPES / "default")
    return load_script("default/recording_conditions.py")


def test_voices_are_recorded_in_other_ways_where_asked(tmp_path: Path, audio: Path) -> None:
    """The same voices otherwise, as long and as loud."""
    plain = make(audio, tmp_path / "plain")
    other = make(audio, tmp_path / "other", "--conditions")
    assert plain == other
    moved = 0
    for row in plain:
        first, second = (
            soundfile.read(tmp_path / folder / row["path"])[0] for folder in ("plain", "other")
        )
        assert len(first) == len(second)
        assert abs(speech_level_db(first) - speech_level_db(second)) < 1
        moved += not np.array_equal(first, second)
    assert 3 <= moved < len(plain)


def test_what_conditions_change(conditions: ModuleType, speech: Callable[..., np.ndarray]) -> None:
    """A floor is added where nothing was, pauses are lowered, and the band ends lower."""
    clean = speech(2.0, 1)
    pause = slice(12000, 20000)
    clean[pause] *= 0.01
    clean[:8] = 0
    rng = np.random.default_rng

    def level(samples: np.ndarray) -> float:
        return float(np.sqrt(np.square(samples).mean()))

    assert conditions.with_floor(clean, rng(0))[:8].any()
    assert level(conditions.with_floor(clean, rng(0)) - clean) < 0.04 * level(clean)

    gated = conditions.cleaned(clean, rng(0))
    inner = slice(15000, 17000)
    assert level(gated[inner]) < 0.4 * level(clean[inner])
    np.testing.assert_allclose(level(gated), level(clean), rtol=0.02)

    noise = rng(1).standard_normal(32000)
    power = np.abs(np.fft.rfft(conditions.band_limited(noise, rng(0)))) ** 2
    assert power[-200:].mean() < 1e-3 * power[2000:6000].mean()

    for seed in range(4):
        kept = conditions.stored(clean, rng(seed))
        assert kept.shape == clean.shape
        assert 0 < level(kept - clean) < 0.5 * level(clean)

    silence = np.zeros(4000)
    for step in (conditions.cleaned, conditions.band_limited, conditions.stored):
        assert np.isfinite(step(silence, rng(0))).all()
