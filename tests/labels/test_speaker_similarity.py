import numpy as np
import pytest

from urgentmos.labels.labeller import LabelError
from urgentmos.labels.speaker_similarity import SpeakerSimilarity


def test_equals_resemblyzer(package, reference: np.ndarray, noisy: np.ndarray) -> None:
    resemblyzer = package("resemblyzer")
    encoder = resemblyzer.VoiceEncoder("cpu", verbose=False)
    ours, theirs = (
        encoder.embed_utterance(resemblyzer.preprocess_wav(waveform))
        for waveform in (noisy, reference)
    )
    value = SpeakerSimilarity().label(noisy, reference)["spksim"]
    assert value == pytest.approx(float(ours @ theirs), abs=1e-6)
    assert value < 0.999


def test_is_one_for_the_reference_itself(package, reference: np.ndarray) -> None:
    package("resemblyzer")
    assert SpeakerSimilarity().label(reference, reference)["spksim"] == pytest.approx(1, abs=1e-5)


def test_refuses_a_recording_without_voice(package, reference: np.ndarray) -> None:
    package("resemblyzer")
    faint = (1e-7 * reference).astype(np.float32)
    click = np.zeros_like(reference)
    click[16000] = 1.0
    for recording in (click, faint[:300]):
        with pytest.raises(LabelError, match="no voice"):
            SpeakerSimilarity().label(recording, reference[: len(recording)])
