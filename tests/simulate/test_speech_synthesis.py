import numpy as np
import pytest

from urgentmos.config import ConfigError
from urgentmos.simulate.sentences import SENTENCES
from urgentmos.simulate.speech_synthesis import (
    TOOLS,
    SpeakingStyle,
    Voice,
    installed_voices,
    read_sentences,
    synthesise,
)
from urgentmos.simulate.tools import missing_tools


@pytest.mark.parametrize("engine", TOOLS)
def test_an_engine_speaks_and_a_faster_tempo_is_shorter(engine):
    if missing_tools([TOOLS[engine]]):
        pytest.skip(f"needs {TOOLS[engine]}, not installed")
    # Festival's HTS voices have one tempo.
    voices = installed_voices([engine], languages=["en"])
    voice = next(v for v in voices if not v.name.endswith("hts"))
    slow, fast = (
        synthesise(SENTENCES["en"][0], voice, style=SpeakingStyle(tempo=tempo))
        for tempo in (0.8, 1.3)
    )
    assert 16000 < len(fast) < len(slow) < 16000 * 12
    assert np.abs(slow).max() > 0.01


def test_an_unknown_engine_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'hal'.*espeak-ng"):
        installed_voices(["hal"], languages=["en"])


def test_espeak_voices_cover_the_languages_asked_for():
    if missing_tools(["espeak-ng"]):
        pytest.skip("needs espeak-ng, not installed")
    voices = installed_voices(["espeak-ng"], languages=["de", "fr"])
    assert {voice.language for voice in voices} == {"de", "fr"}
    assert Voice("espeak-ng", "de+f3", "de") in voices


def test_sentences_are_read_by_language_and_a_bad_line_is_named(tmp_path):
    path = tmp_path / "text.tsv"
    path.write_text("en\tOne.\nde\tZwei.\n\nen\tThree.\n", encoding="utf-8")
    assert read_sentences(path) == {"en": ("One.", "Three."), "de": ("Zwei.",)}
    path.write_text("en\tOne.\nno tab here\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2"):
        read_sentences(path)
