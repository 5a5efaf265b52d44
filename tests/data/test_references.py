from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.data.manifest import Recording
from urgentmos.data.references import References, list_references
from urgentmos.data.waveforms import DecodedWaveforms, Waveforms, open_cache

RATE = 16000


def recording(folder: Path, name: str, *, reference: Path | None, samples: int) -> Recording:
    path = folder / f"{name}.wav"
    soundfile.write(path, np.full(samples, 0.5), RATE, subtype="FLOAT")
    meta = {} if reference is None else {"reference_path": str(reference)}
    return Recording(path, name, "s", "r", samples / RATE, meta=meta)


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    path = tmp_path / "ramp.wav"
    soundfile.write(path, np.arange(RATE) / 2**15, RATE, subtype="PCM_16")
    return path


@pytest.mark.parametrize("cached", [False, True])
def test_a_reference_is_cut_as_its_recording_is(tmp_path: Path, ramp: Path, cached: bool) -> None:
    recordings = [
        recording(tmp_path, "a", reference=None, samples=RATE),
        recording(tmp_path, "b", reference=ramp, samples=RATE),
        recording(tmp_path, "c", reference=ramp, samples=RATE),
    ]
    listed, places = list_references(recordings)
    assert [r.audio_path for r in listed] == [ramp]
    assert places.tolist() == [-1, 0, 0]
    waveforms: Waveforms = DecodedWaveforms(listed)
    if cached:
        waveforms = open_cache(tmp_path / "cache", listed)
    references = References(waveforms, places, np.full(3, RATE))
    read = references.read(
        np.array([2, 0, 1]), starts=np.array([100, 0, 0]), lengths=np.array([50, 30, 20])
    )
    assert read.shape == (3, 50)
    expected = np.arange(100, 150) / 2**15
    np.testing.assert_allclose(read[0], expected, atol=2e-5)
    assert not read[1].any()
    np.testing.assert_allclose(read[2, :20], np.arange(20) / 2**15, atol=2e-5)
    assert not read[2, 20:].any()


def test_a_reference_of_another_length_stands_for_none(tmp_path: Path, ramp: Path) -> None:
    lengths = np.array([RATE - 1600, RATE - 1601, RATE + 1600, RATE + 1601])
    recordings = [
        recording(tmp_path, str(n), reference=ramp, samples=int(length))
        for n, length in enumerate(lengths)
    ]
    listed, places = list_references(recordings)
    references = References(DecodedWaveforms(listed), places, lengths)
    read = references.read(np.arange(4), starts=np.zeros(4, dtype=np.int64), lengths=lengths)
    assert read.any(axis=1).tolist() == [True, False, True, False]
    # What the reference lacks at its end is silent.
    assert not read[2, RATE:].any()
