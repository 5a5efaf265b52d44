from pathlib import Path

import numpy as np
import soundfile

from urgentmos.data.alignment import shifted
from urgentmos.data.recording import Recording
from urgentmos.labels.lateness import late_systems
from urgentmos.simulate.probe import probe


def recording(folder: Path, system: str, *, delay: int, number: int = 0) -> Recording:
    """Write the probe, late by some samples, as a recording of a system."""
    path = folder / f"{system}{number}.wav"
    soundfile.write(path, shifted(probe(), delay=-delay, num_samples=len(probe())), 16000)
    reference = folder / "reference.wav"
    soundfile.write(reference, probe(), 16000)
    return Recording(
        audio_path=path,
        uid=f"{system}:{number}",
        system_id=system,
        reference_id="probe",
        duration=len(probe()) / 16000,
        meta={"reference_path": str(reference)},
    )


def test_systems_that_are_late_or_early_are_named_with_their_latest(tmp_path: Path) -> None:
    recordings = [
        recording(tmp_path, "vocoder", delay=320),
        recording(tmp_path, "vocoder", delay=736, number=1),
        recording(tmp_path, "hasty", delay=-160),
        recording(tmp_path, "codec", delay=40),
    ]
    assert late_systems(recordings) == {"vocoder": 0.046, "hasty": -0.01, "codec": 0}


def test_without_references_nothing_is_late(tmp_path: Path) -> None:
    late = recording(tmp_path, "vocoder", delay=736)
    del late.meta["reference_path"]
    assert late_systems([late]) == {}


def test_what_cannot_be_read_is_left_to_its_row(tmp_path: Path) -> None:
    late = recording(tmp_path, "vocoder", delay=736)
    soundfile.write(late.audio_path, np.zeros(0), 16000)
    assert late_systems([late]) == {}
