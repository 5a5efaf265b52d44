from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from urgentmos.data.manifest import Recording
from urgentmos.data.waveforms import DecodedWaveforms
from urgentmos.model.assessor import Assessor
from urgentmos.training.validation import Validation

Speech = Callable[..., np.ndarray]
CPU = torch.device("cpu")


@pytest.fixture
def long_and_short(tmp_path: Path, speech: Speech) -> list[Recording]:
    """40 s and 1 s of one content, the long one after half a second of digital silence."""
    recordings = []
    for name, seconds in (("long", 40.0), ("short", 1.0)):
        waveform = np.concatenate([np.zeros(8000 if name == "long" else 0), speech(seconds)])
        soundfile.write(tmp_path / f"{name}.wav", waveform, 16000, subtype="FLOAT")
        duration = len(waveform) / 16000
        labels = {"mos": 4.0 if name == "long" else 2.0}
        recordings.append(
            Recording(tmp_path / f"{name}.wav", name, name, "r", duration, labels, {"corpus": "c"})
        )
    return recordings


def validation_of(recordings: list[Recording], metrics: list[str]) -> Validation:
    waveforms = DecodedWaveforms(recordings)
    return Validation(recordings, waveforms, metrics=metrics, batch_samples=60 * 16000, delta=0.5)


def test_recordings_are_scored_as_files_are(
    tiny_assessor: Assessor, long_and_short: list[Recording]
) -> None:
    validation = validation_of(long_and_short, tiny_assessor.metrics)
    given = validation.score(tiny_assessor.network, device=CPU)
    for row, recording in zip(given, long_and_short, strict=True):
        waveform, rate = soundfile.read(recording.audio_path, dtype="float32")
        scores = tiny_assessor.score(waveform, rate)
        expected = torch.cat([scores[name] for name in tiny_assessor.metrics])
        torch.testing.assert_close(row, expected, atol=1e-4, rtol=1e-4)


def test_of_a_long_recording_no_more_than_a_window_is_compared(
    tiny_assessor: Assessor, long_and_short: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    real = tiny_assessor.network.preference_frames

    def note(waveform: torch.Tensor, *rest: object, **options: object) -> object:
        heard.append(waveform.shape[1])
        return real(waveform, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tiny_assessor.network, "preference_frames", note)
    validation = validation_of(long_and_short, tiny_assessor.metrics)
    assert list(validation.compare(tiny_assessor.network, device=CPU)) == ["compare_accuracy/ref"]
    assert heard == [16 * 16000]
