from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.scoring.recording import check_workers, decode_recordings


@pytest.mark.parametrize("workers", [1.5, "2", None, True])
def test_workers_that_are_no_whole_number_are_refused(workers: object) -> None:
    with pytest.raises(TypeError, match="expected workers as a whole number, 0 or more, got"):
        check_workers(workers)


def test_recordings_are_decoded_in_order_by_any_number_of_workers(
    tmp_path: Path, speech: Callable[..., np.ndarray]
) -> None:
    # One is longer than a window, and one shorter than a second.
    seconds = [3.0, 0.4, 22.0, 1.0, 5.5, 2.0]
    files = [tmp_path / f"{place}.wav" for place in range(len(seconds))]
    for file, duration_s in zip(files, seconds, strict=True):
        soundfile.write(file, np.resize(speech(1.0), round(16000 * duration_s)), 16000)
    for workers in (0, 1, 5):
        decoded = decode_recordings(files * 8, sample_rate=16000, workers=workers)
        lengths = [sum(window.weight_s for window in windows) for _, windows in decoded]
        assert lengths == pytest.approx(seconds * 8)


def test_few_recordings_are_opened_ahead_of_their_turn(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.resize([0.1, -0.2], 1600), 16000)
    paths = iter([tmp_path / "a.wav"] * 200)
    decoded = decode_recordings(paths, sample_rate=16000, workers=1)
    next(decoded)
    assert 200 - len(list(paths)) <= 40
    decoded.close()


@pytest.mark.parametrize(
    ("before", "sound", "after", "flags"),
    [
        (800, 16000, 799, ()),
        (800, 16000, 800, ("edge_silence",)),
        (0, 15999, 0, ("short",)),
        (800, 15999, 800, ("edge_silence", "short")),
    ],
)
def test_a_tenth_of_a_second_of_edge_silence_and_less_than_a_second_of_sound_are_flagged(
    tmp_path: Path, before: int, sound: int, after: int, flags: tuple[str, ...]
) -> None:
    samples = np.pad(np.resize([0.1, -0.2], sound), (before, after))
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    ((recording, windows),) = decode_recordings([tmp_path / "a.wav"], sample_rate=16000, workers=0)
    (window,) = windows
    assert recording.flags == flags
    assert (window.start_s, window.end_s) == (before / 16000, (before + sound) / 16000)
