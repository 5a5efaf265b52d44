from pathlib import Path

import numpy as np
import pytest
import soundfile

import urgentmos.data.waveforms as waveforms_module
from urgentmos.audio import Audio
from urgentmos.data.manifest import ManifestError, Recording
from urgentmos.data.waveforms import DecodedWaveforms, SelectedWaveforms, open_cache

RATE = 16000


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    rng = np.random.default_rng(0)
    made = []
    for number, samples in enumerate((4000, 8000, 1600)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, rng.uniform(-0.5, 0.5, samples), RATE, subtype="PCM_16")
        made.append(Recording(path, str(number), "s", "r", samples / RATE))
    return made


def test_cached_waveforms_equal_decoded_ones_to_16_bits(
    recordings: list[Recording], tmp_path: Path
) -> None:
    decoded = DecodedWaveforms(recordings)
    cached = open_cache(tmp_path / "cache", recordings)
    assert cached.lengths.tolist() == decoded.lengths.tolist()
    for position in range(3):
        np.testing.assert_allclose(cached.read(position), decoded.read(position), atol=1 / 32767)


def test_a_part_is_the_slice_of_the_whole(recordings: list[Recording], tmp_path: Path) -> None:
    for waveforms in (DecodedWaveforms(recordings), open_cache(tmp_path / "cache", recordings)):
        row = np.empty(100, dtype=np.float32)
        waveforms.read_into(row, 1, start=250)
        np.testing.assert_array_equal(row, waveforms.read(1)[250:350])


def test_a_recording_is_decoded_once_whatever_else_is_heard(
    recordings: list[Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(tmp_path / "cache", recordings[:2])
    decoded = []
    read = waveforms_module.read_audio

    def counted(path: Path, **options: int) -> Audio:
        decoded.append(path)
        return read(path, **options)

    monkeypatch.setattr(waveforms_module, "read_audio", counted)
    cached = open_cache(tmp_path / "cache", recordings[::-1])
    assert decoded == [recordings[2].audio_path]
    assert cached.lengths.tolist() == [1600, 8000, 4000]
    expected = DecodedWaveforms(recordings).read(0)
    np.testing.assert_allclose(cached.read(2), expected, atol=1 / 32767)


def test_an_unreadable_recording_is_named(recordings: list[Recording], tmp_path: Path) -> None:
    recordings[1].audio_path.write_bytes(b"not audio")
    with pytest.raises(ManifestError, match=r"1\.wav: cannot be used for training"):
        open_cache(tmp_path / "cache", recordings)
    soundfile.write(recordings[1].audio_path, np.zeros(800), RATE)
    assert open_cache(tmp_path / "cache", recordings).lengths.tolist() == [4000, 800, 1600]


def test_a_file_shorter_than_its_manifest_says_is_told(recordings: list[Recording]) -> None:
    recordings[0].duration = 2.0
    with pytest.raises(ManifestError, match=r"the manifest says 2\.00 s, the file has 0\.25 s"):
        DecodedWaveforms(recordings).read_into(np.empty(16000, np.float32), 0, start=16000)


def test_a_selection_renumbers_recordings(recordings: list[Recording]) -> None:
    whole = DecodedWaveforms(recordings)
    part = SelectedWaveforms(whole, np.array([2, 0]))
    assert part.lengths.tolist() == [1600, 4000]
    np.testing.assert_array_equal(part.read(0), whole.read(2))
