import json

import numpy as np
import pytest

from urgentmos.data.alignment import lag_samples
from urgentmos.simulate.codecs import CODEC_KINDS
from urgentmos.simulate.kinds import DISTORTIONS
from urgentmos.simulate.levels import speech_level_db
from urgentmos.simulate.spectrum import stft
from urgentmos.simulate.tools import missing_tools

pytestmark = pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")

# Their phase is not the input's, or they change the waveform at every strength.
OWN_PHASE = {
    "griffin_lim",
    "mel_griffin_lim",
    "predicted_spectrum",
    "world",
    "linear_prediction",
    "channel_vocoder",
}
RAISES_LEVEL = {"clicks", "recorded_noise", "stationary_noise", "babble", "competing_talker", "hum"}
FEW_CODECS = {"opus", "amr_nb", "mu_law", "g726"}


def distort(name, waveform, strength, sources, *, seed=0):
    missing = missing_tools(DISTORTIONS[name].tools)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}, not installed")
    kind = DISTORTIONS[name]
    params = kind.sample(strength, np.random.default_rng([seed, 0]), sources)
    json.dumps(params)
    return kind.apply(waveform, params, np.random.default_rng([seed, 1]), sources)


def distance(a, b):
    """Distance of log spectra in dB, over what is less than 60 dB below the peak."""
    pair = [np.abs(stft(x, window_samples=512, hop_samples=256)) ** 2 for x in (a, b)]
    floor = 1e-6 * max(power.max() for power in pair)
    a_db, b_db = (10 * np.log10(np.maximum(power, floor)) for power in pair)
    return float(np.sqrt(np.mean((a_db - b_db) ** 2)))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_distorted_speech_has_the_same_length_and_is_finite(name, speech, sources):
    waveform = speech(1.31)
    distorted = distort(name, waveform, 0.6, sources)
    assert distorted.shape == waveform.shape
    assert np.isfinite(distorted).all()
    assert not np.array_equal(distorted, waveform)


@pytest.mark.parametrize("name", sorted(set(DISTORTIONS) - set(CODEC_KINDS)) + sorted(FEW_CODECS))
def test_same_seed_gives_the_same_recording(name, speech, sources):
    waveform = speech(1.0)
    first, again = (distort(name, waveform, 0.4, sources, seed=3) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", sorted(set(DISTORTIONS) - set(CODEC_KINDS)) + sorted(FEW_CODECS))
def test_stronger_is_further_from_the_input(name, speech, sources):
    waveforms = [speech(1.5, seed=seed) for seed in range(3)]
    mild, severe = (
        np.mean(
            [distance(w, distort(name, w, s, sources, seed=i)) for i, w in enumerate(waveforms)]
        )
        for s in (0.02, 0.98)
    )
    assert severe > mild


@pytest.mark.parametrize("name", ["gsm", "opus", "amr_nb", "amr_wb", "g722", "mp3", "aac", "room"])
def test_codecs_and_rooms_keep_time(name, speech, sources):
    waveform = speech(1.5)
    distorted = distort(name, waveform, 0.3, sources)
    assert abs(lag_samples(distorted, waveform)) <= 1


@pytest.mark.parametrize("name", sorted(set(DISTORTIONS) - set(CODEC_KINDS) - RAISES_LEVEL))
def test_the_level_of_the_speech_is_kept(name, speech, sources):
    waveform = speech(2.0)
    distorted = distort(name, waveform, 0.5, sources)
    assert abs(speech_level_db(distorted) - speech_level_db(waveform)) < 3.0


@pytest.mark.parametrize("name", DISTORTIONS)
def test_random_choices_do_not_depend_on_the_strength(name, sources):
    after = []
    for strength in (0.0, 0.35, 1.0):
        rng = np.random.default_rng(5)
        DISTORTIONS[name].sample(strength, rng, sources)
        after.append(rng.uniform())
    assert after[0] == after[1] == after[2]


@pytest.mark.parametrize("name", sorted(set(DISTORTIONS) - set(CODEC_KINDS)))
def test_silence_stays_finite(name, sources):
    silence = np.zeros(16000, dtype=np.float32)
    assert np.isfinite(distort(name, silence, 0.5, sources)).all()
