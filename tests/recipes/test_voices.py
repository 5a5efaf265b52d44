"""The default recipe's further voices: other rates, and the side of what they were made of."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from urgentmos.simulate.levels import speech_level_db

from .conftest import run_script

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


def test_voices_are_faster_or_slower_and_keep_level_and_side(
    tmp_path: Path, speech: Callable[..., np.ndarray]
) -> None:
    audio = tmp_path / "audio"
    for number in range(6):
        path = audio / "clean" / "corpus" / f"speaker{number}" / "a.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, speech(1.0, number), 16000)
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
