from dataclasses import dataclass, field

import numpy as np
import pytest

from urgentmos.data.alignment import lag_samples
from urgentmos.simulate import codecs
from urgentmos.simulate.codecs import CODECS, SINGLE_RATE_CODECS, coded, delay_samples
from urgentmos.simulate.probe import probe
from urgentmos.simulate.tools import ToolError, missing_tools

ALL_CODECS = {**CODECS, **SINGLE_RATE_CODECS}


def hum_like(waveform):
    """Mains hum as loud as a waveform."""
    hum = np.sin(2 * np.pi * 50 * np.arange(len(waveform)) / 16000)
    return (hum * np.std(waveform) / np.std(hum)).astype(np.float32)


def speech_band(waveform):
    spectrum = np.fft.rfft(waveform)
    hz = np.fft.rfftfreq(len(waveform), 1 / 16000)
    return np.fft.irfft(spectrum * ((hz > 300) & (hz < 3400)), len(waveform)).astype(np.float32)


def noise_vocoded(waveform):
    """Noise with a waveform's loudness in each of a few bands."""
    noise = np.random.default_rng(0).standard_normal(len(waveform))
    hz = np.fft.fftfreq(len(waveform), 1 / 16000)
    result = np.zeros(len(waveform))
    for low in range(200, 3400, 400):
        band = (hz >= low) & (hz < low + 400)
        loudness = np.abs(np.fft.ifft(np.fft.fft(waveform) * band))
        loudness = np.convolve(loudness, np.hanning(161), mode="same")
        result += loudness * np.fft.ifft(np.fft.fft(noise) * band).real
    return result.astype(np.float32)


@pytest.fixture
def fresh_delays():
    delay_samples.cache_clear()
    yield
    delay_samples.cache_clear()


@dataclass
class LateCodec:
    """Hands back what it is given, late, and notes how long it was."""

    delay: int
    gain: int = 1
    settings: tuple[tuple[str, ...], ...] = ((),)
    lengths: list[int] = field(default_factory=list)

    def code(self, pcm, setting):
        self.lengths.append(len(pcm) // 2)
        samples = np.frombuffer(pcm, dtype="<i2") * np.int16(self.gain)
        return np.pad(samples, (self.delay, 0)).astype("<i2").tobytes()


@pytest.mark.parametrize(
    "name", ["amr_nb", "amr_wb", "speex_nb", "speex_wb", "gsm", "opus", "g722"]
)
@pytest.mark.parametrize("hum", [False, True], ids=["clean", "hum"])
def test_coded_speech_keeps_time_with_and_without_hum(name, hum, speech):
    missing = missing_tools([ALL_CODECS[name].tool])
    if missing:
        pytest.skip(f"needs {', '.join(missing)}, not installed")
    waveform = speech(2.0)
    sent = waveform + hum_like(waveform) if hum else waveform
    distorted = coded(sent, name, list(ALL_CODECS[name].settings[0]))
    assert abs(lag_samples(speech_band(distorted), speech_band(waveform))) <= 2


@pytest.mark.usefixtures("fresh_delays")
def test_the_delay_of_a_setting_is_measured_once_and_on_no_recording(monkeypatch, speech):
    codec = LateCodec(delay=777)
    monkeypatch.setitem(codecs.CODECS, "late", codec)
    # A steady tone fits its own copy one period away as well as itself.
    tone = (0.3 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)).astype(np.float32)
    for waveform in (tone, np.zeros(16000, dtype=np.float32), speech(1.0)):
        assert coded(waveform, "late", []) == pytest.approx(waveform, abs=1e-3)
    assert len(codec.lengths) == 4
    assert len([length for length in codec.lengths if length > 20000]) == 1


@pytest.mark.usefixtures("fresh_delays")
def test_a_codec_that_gives_silence_is_refused(monkeypatch, speech):
    monkeypatch.setitem(codecs.CODECS, "mute", LateCodec(delay=0, gain=0))
    with pytest.raises(ToolError, match="mute: expected a sound back, got silence"):
        coded(speech(1.0), "mute", [])


@pytest.mark.parametrize("delay", [0, 311, 2125])
def test_the_delay_of_a_vocoder_that_keeps_no_phase_is_found(delay):
    late = np.pad(noise_vocoded(probe()), (delay, 0))
    # Up to 1 ms less than the best lag, which noise moves by as much.
    assert delay - 32 <= lag_samples(late, probe()) <= delay + 16


@pytest.mark.parametrize(("delay", "expected"), [(79.5, 79), (79.9, 80), (80.1, 80), (-0.5, -1)])
def test_a_delay_between_samples_leaves_a_recording_late_rather_than_early(delay, expected):
    spectrum = np.fft.rfft(probe())
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(len(probe())) * delay)
    late = np.fft.irfft(spectrum * turn, len(probe())).astype(np.float32)
    assert lag_samples(late, probe()) == expected


@pytest.mark.parametrize("name", ["codec2", "lpc10"])
def test_vocoded_speech_keeps_time_whoever_speaks(name, speech):
    missing = missing_tools([ALL_CODECS[name].tool])
    if missing:
        pytest.skip(f"needs {', '.join(missing)}, not installed")
    for seed in range(3):
        waveform = speech(2.0, seed=seed)
        distorted = coded(waveform, name, list(ALL_CODECS[name].settings[0]))
        assert abs(lag_samples(distorted, waveform)) <= 80
