"""What a parameter says is what the recording has."""

import weakref

import numpy as np
import pytest
import soundfile

from urgentmos.simulate import packet_loss
from urgentmos.simulate.amplitude import MNRU
from urgentmos.simulate.kinds import DISTORTIONS
from urgentmos.simulate.levels import (
    add_noise,
    at_speech_level,
    excerpt,
    scaled_noise,
    speech_level_db,
    with_level_of,
)
from urgentmos.simulate.noise import COLORS, stationary_noise
from urgentmos.simulate.packet_loss import PACKET_LOSS, lost_frames
from urgentmos.simulate.reverberation import measured_response, room_response
from urgentmos.simulate.sources import MissingMaterialError, Sources, Talker
from urgentmos.simulate.spectrum import istft, stft
from urgentmos.simulate.vocoders import fundamental


def rng():
    return np.random.default_rng(0)


def apply(kind, waveform, params, sources=None):
    return DISTORTIONS[kind].apply(waveform, params, rng(), sources or Sources())


def gain_db(kind, params, hz, *, against_hz):
    """Gain of a filter at one frequency against another, from its answer to an impulse."""
    impulse = np.zeros(16000, dtype=np.float32)
    impulse[8000] = 0.5
    size = np.abs(np.fft.rfft(apply(kind, impulse, params)))
    return 20 * np.log10(size[hz] / size[against_hz])


@pytest.mark.parametrize("kind", ["recorded_noise", "stationary_noise", "babble", "clicks"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_noise_stands_at_the_drawn_ratio_to_the_speech(kind, strength, speech, sources):
    waveform = speech(2.0)
    params = DISTORTIONS[kind].sample(strength, rng(), sources)
    noise = DISTORTIONS[kind].apply(waveform, params, rng(), sources) - waveform
    snr_db = speech_level_db(waveform) - 10 * np.log10(np.mean(noise**2))
    assert params["snr_db"] == pytest.approx(40 - 50 * strength)
    assert snr_db == pytest.approx(params["snr_db"], abs=0.1)


@pytest.mark.parametrize("color", COLORS)
def test_noise_colors_differ_in_their_slope(color, speech):
    noise = stationary_noise(color, speech=speech(3.0), rng=rng())
    power = np.mean(np.abs(stft(noise, window_samples=512, hop_samples=256)) ** 2, axis=0)
    slope_db = 10 * np.log10(power[20:40].mean() / power[160:].mean())
    expected = {"white": (-1, 1), "pink": (5, 12), "brown": (12, 24), "speech_shaped": (3, 60)}
    low, high = expected[color]
    assert low < slope_db < high


def test_sources_do_not_stay_in_memory(tmp_path):
    noises = {str(number): tmp_path / f"{number}.wav" for number in range(50)}
    for path in noises.values():
        soundfile.write(path, np.ones(1600), 16000)
    sources = Sources(noises=noises)
    first = weakref.ref(sources.noise("0"))
    for name in noises:
        sources.noise(name)
    assert first() is None


def test_silent_noise_is_refused(speech, tmp_path):
    soundfile.write(tmp_path / "noise.wav", np.zeros(16000), 16000)
    silent = Sources(noises={"noise.wav": tmp_path / "noise.wav"})
    params = {"noise": "noise.wav", "start": 0.5, "snr_db": 10.0}
    with pytest.raises(ValueError, match=r"noise noise\.wav is silent from 0\.5 s on"):
        DISTORTIONS["recorded_noise"].apply(speech(1.0), params, rng(), silent)


def test_dropouts_are_as_many_as_drawn_in_a_long_recording():
    params = {"per_second": 8.0, "gap_ms": 10.0, "fade_ms": 0.2}
    result = DISTORTIONS["dropouts"].apply(np.ones(60 * 16000), params, rng(), Sources())
    # A gap of 10 ms; the 480 of them overlap a little.
    assert np.mean(result == 0) == pytest.approx(8 * 0.010, rel=0.1)


def test_an_interfering_talker_is_never_the_speaker(sources):
    without = sources.without_speaker("speaker2")
    names = without.draw_talkers(rng(), count=200)
    assert len(set(names)) == 10
    assert not any(name.startswith("speaker2") for name in names)


def test_material_that_was_not_given_is_named():
    with pytest.raises(MissingMaterialError, match="recorded noise"):
        Sources().draw_noise(rng())


def test_a_response_may_be_shorter_than_what_has_a_score(tmp_path):
    path = tmp_path / "telephone.wav"
    soundfile.write(path, np.r_[1.0, 0.5, np.zeros(78)], 16000)
    response = Sources(responses={"telephone.wav": path}).response("telephone.wav")
    assert response[:2] == pytest.approx([1.0, 0.5], abs=1e-3)


@pytest.mark.parametrize("strength", [0.2, 0.3, 0.7, 1.0])
def test_rooms_decay_in_their_reverberation_time(strength):
    shares = []
    for seed in range(8):
        params = DISTORTIONS["room"].sample(strength, np.random.default_rng(seed), Sources())
        response = room_response(params, rng())
        assert response[0] == pytest.approx(1.0, abs=0.05)
        decay_db = 10 * np.log10(np.cumsum(response[::-1].astype(float) ** 2)[::-1])
        decay_db -= decay_db[0]
        # Slope between 5 and 25 dB below the whole energy (T20), extended to 60 dB.
        start, end = (int(np.argmax(decay_db < level)) for level in (-5, -25))
        shares.append(3 * (end - start) / 16000 / params["t60_s"])
    assert np.mean(shares) == pytest.approx(1.0, abs=0.15)
    assert shares == pytest.approx([1.0] * 8, abs=0.5)


def test_a_measured_response_has_the_asked_direct_to_reverberant_ratio(sources):
    response, direct = measured_response(sources.response("0.wav"), 6.0)
    split = direct + int(0.0025 * 16000)
    ratio = np.sum(response[:split] ** 2) / np.sum(response[split:] ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(6.0, abs=0.01)
    assert response[direct] == response.max()


def test_mnru_noise_follows_the_speech_at_q(speech):
    waveform = speech(2.0)
    noise = MNRU.apply(waveform, {"q_db": 12.0}, rng(), Sources()) - waveform
    q_db = 10 * np.log10(np.sum(waveform**2) / np.sum(noise**2))
    assert q_db == pytest.approx(12.0, abs=0.3)


@pytest.mark.parametrize("mean_burst", [1.0, 4.0])
def test_lost_packets_have_the_drawn_rate_and_burst_length(mean_burst):
    lost = lost_frames(200_000, loss_rate=0.1, mean_burst=mean_burst, rng=rng())
    starts = lost[1:] & ~lost[:-1]
    assert lost.mean() == pytest.approx(0.1, rel=0.05)
    expected = 1 / 0.9 if mean_burst == 1.0 else mean_burst
    assert lost.sum() / starts.sum() == pytest.approx(expected, rel=0.05)


def test_pitch_concealment_continues_a_steady_tone_better_than_silence():
    tone = (0.3 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000)).astype(np.float32)
    params = {"loss_rate": 0.2, "mean_burst": 1.0, "frame_ms": 10.0, "fade": 0.95}
    errors = {
        name: PACKET_LOSS.apply(tone, {**params, "concealment": name}, rng(), Sources()) - tone
        for name in ("zero", "pitch")
    }
    # Concealment needs some 35 ms of speech to find a period in.
    errors = {name: np.mean(error[1600:] ** 2) for name, error in errors.items()}
    assert errors["pitch"] < 0.05 * errors["zero"]


@pytest.mark.parametrize(("window", "hop"), [(512, 128), (512, 256), (1024, 256)])
def test_the_short_time_spectrum_inverts_exactly(window, hop, speech):
    waveform = speech(0.77)
    back = istft(
        stft(waveform, window_samples=window, hop_samples=hop),
        window_samples=window,
        hop_samples=hop,
        num_samples=len(waveform),
    )
    assert np.allclose(back, waveform, atol=1e-5)


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
def test_the_fundamental_of_a_pulse_train_is_found():
    train = np.zeros(16000, dtype=np.float32)
    train[::128] = 0.5
    pitch = fundamental(train)
    assert np.median(pitch[pitch > 0]) == pytest.approx(125.0, rel=0.02)


@pytest.mark.parametrize("concealment", ["repeat", "pitch"])
def test_concealment_fades_by_the_same_share_in_each_lost_frame(concealment, monkeypatch):
    tone = (0.3 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000)).astype(np.float32)
    lost = np.zeros(50, dtype=bool)
    lost[20:24] = True
    monkeypatch.setattr(packet_loss, "lost_frames", lambda *args, **kwargs: lost)
    params = {"loss_rate": 0.1, "mean_burst": 4.0, "frame_ms": 20.0, "fade": 0.8}
    result = PACKET_LOSS.apply(tone, {**params, "concealment": concealment}, rng(), Sources())
    # Frames hold four whole periods of the tone.
    level = np.sqrt(np.mean(result.reshape(-1, 320) ** 2, axis=1)) / np.std(tone)
    assert level[20:24] == pytest.approx([0.8, 0.64, 0.512, 0.4096], rel=1e-3)
    assert level[25] == pytest.approx(1.0, rel=1e-3)
    # Pitch concealment goes over into the next frame within 2.5 ms; a quarter of a period into it
    # half of the way is done.
    share = 20 / 39 if concealment == "pitch" else 1.0
    crest = 24 * 320 + 20
    assert result[crest] / tone[crest] == pytest.approx(share + (1 - share) * 0.4096, abs=0.01)
    assert result[24 * 320 + 60] == pytest.approx(tone[24 * 320 + 60], abs=1e-4)


def test_speech_is_what_lies_within_35_db_of_the_loudest_frame():
    loud = np.resize([1.0, -1.0], 16000)
    for quiet_db, level_db in ((-30, -3.0), (-40, 0.0)):
        waveform = np.concatenate([loud, 10 ** (quiet_db / 20) * loud]).astype(np.float32)
        assert speech_level_db(waveform) == pytest.approx(level_db, abs=0.02)


def test_silence_is_scaled_to_no_level():
    silence, tone = np.full(3200, 1e-9, dtype=np.float32), np.ones(3200, dtype=np.float32)
    assert np.array_equal(with_level_of(silence, tone), silence)
    assert np.array_equal(at_speech_level(silence, -25.0), silence)
    assert np.array_equal(scaled_noise(silence, speech=tone, snr_db=0.0), silence)
    assert np.array_equal(add_noise(tone, silence, snr_db=0.0), tone)


def test_an_excerpt_starts_over_at_the_end_of_its_recording():
    assert excerpt(np.arange(3.0), start=2, num_samples=5).tolist() == [2, 0, 1, 2, 0]


def test_recorded_noise_starts_where_it_was_drawn(speech, tmp_path):
    hums = [0.1 * np.sin(2 * np.pi * hz * np.arange(16000) / 16000) for hz in (100, 1000)]
    soundfile.write(tmp_path / "noise.wav", np.concatenate(hums), 16000)
    sources = Sources(noises={"noise.wav": tmp_path / "noise.wav"})
    params = {"noise": "noise.wav", "start": 0.5, "snr_db": 0.0}
    waveform = speech(1.0)
    noise = apply("recorded_noise", waveform, params, sources) - waveform
    assert np.abs(np.fft.rfft(noise)).argmax() == 1000


def test_talkers_of_a_babble_are_equally_loud(tmp_path):
    for hz, size in ((500, 0.5), (1500, 0.005)):
        tone = size * np.sin(2 * np.pi * hz * np.arange(16000) / 16000)
        soundfile.write(tmp_path / f"{hz}.wav", tone, 16000, subtype="FLOAT")
    talkers = {f"{hz}": Talker(tmp_path / f"{hz}.wav", f"{hz}") for hz in (500, 1500)}
    params = {"talkers": ["500", "1500"], "starts": [0.0, 0.0], "snr_db": 0.0}
    sent = np.full(16000, 0.1, dtype=np.float32)
    size = np.abs(np.fft.rfft(apply("babble", sent, params, Sources(speech=talkers)) - sent))
    assert size[500] == pytest.approx(size[1500], rel=0.01)


def test_hard_clipping_cuts_the_drawn_share_of_samples(speech):
    waveform = speech(2.0)
    clipped = apply("hard_clipping", waveform, {"clipped_share": 0.1, "floor": 1.0})
    at_the_top = np.abs(clipped) > 0.9999 * np.abs(clipped).max()
    assert at_the_top.mean() == pytest.approx(0.1, abs=0.001)


def test_a_low_floor_lets_the_other_polarity_through():
    ramp = np.linspace(-1, 1, 16000, dtype=np.float32)
    clipped = apply("hard_clipping", ramp, {"clipped_share": 0.8, "floor": 0.3})
    # Clipped at +0.2 and at -0.2 / 0.3.
    assert -clipped.min() / clipped.max() == pytest.approx(1 / 0.3, rel=0.01)


def test_bits_are_as_many_as_drawn(speech):
    waveform = speech(1.0)
    coarse = apply("bit_depth", waveform, {"bits": 4.0, "dither": False})
    step = 2 * np.abs(waveform).max() / 2**4
    assert np.diff(np.unique(coarse)) == pytest.approx(step, rel=1e-3)
    assert np.abs(coarse - waveform).max() <= 0.501 * step


def test_level_jumps_come_where_and_as_far_as_drawn():
    params = {"range_db": 20.0, "at": [0.5], "gains": [0.0, -1.0], "ramp_ms": 50.0}
    level_db = 20 * np.log10(apply("level_jumps", np.ones(16000, dtype=np.float32), params))
    level_db -= level_db[0]
    assert level_db[-1] == pytest.approx(-20.0, abs=0.01)
    assert np.argmin(np.abs(level_db + 10.0)) == pytest.approx(8000, abs=2)
    assert np.count_nonzero((level_db < -0.1) & (level_db > -19.9)) == pytest.approx(800, abs=20)


def test_compression_divides_differences_of_level_by_its_ratio():
    tone = np.sin(2 * np.pi * 400 * np.arange(32000) / 16000)
    tone[16000:] *= 0.1
    params = {"ratio": 4.0, "release_ms": 50.0, "threshold_db": -35.0}
    level = apply("compression", tone.astype(np.float32), params).reshape(-1, 1600).std(axis=1)
    assert 20 * np.log10(level[5] / level[-3]) == pytest.approx(20 / 4, abs=0.1)


def test_gaps_are_as_long_as_drawn():
    params = {"per_second": 1.0, "gap_ms": 50.0, "fade_ms": 0.2}
    result = apply("dropouts", np.ones(16000, dtype=np.float32), params)
    assert np.count_nonzero(result == 0) == pytest.approx(800, abs=2)


def test_an_echo_repeats_what_was_sent_each_time_by_its_gain():
    impulse = np.zeros(16000, dtype=np.float32)
    impulse[0] = 1.0
    result = apply("echo", impulse, {"delay_ms": 100.0, "repeats": 3, "gain_db": -6.0})
    assert np.flatnonzero(result).tolist() == [0, 1600, 3200, 4800]
    assert 20 * np.log10(result[[1600, 3200, 4800]]) == pytest.approx([-6, -12, -18], abs=1e-3)


def test_harmonics_of_a_hum_have_their_levels():
    params = {"mains_hz": 50.0, "harmonics_db": [0.0, -20.0, -6.0], "snr_db": 0.0}
    sent = np.full(16000, 0.1, dtype=np.float32)
    size = np.abs(np.fft.rfft(apply("hum", sent, params) - sent))[[50, 100, 150]]
    assert 20 * np.log10(size / size[0]) == pytest.approx([0, -20, -6], abs=0.1)


@pytest.mark.parametrize(
    ("kind", "params", "hz", "expected_db"),
    [
        # Butterworth: 3 dB down at the cut-off, 6 dB per octave and order beyond.
        ("low_pass", {"low_hz": 20.0, "high_hz": 2000.0, "order": 6.0}, 2000, -3.0),
        ("low_pass", {"low_hz": 20.0, "high_hz": 2000.0, "order": 6.0}, 4000, -36.1),
        ("high_pass", {"low_hz": 500.0, "high_hz": 7900.0, "order": 4.0}, 500, -3.0),
        ("high_pass", {"low_hz": 500.0, "high_hz": 7900.0, "order": 4.0}, 250, -24.1),
        ("tilt", {"db_per_octave": 6.0}, 4000, 12.0),
        ("tilt", {"db_per_octave": -6.0}, 4000, -12.0),
        (
            "equaliser",
            {"range_db": 12.0, "centres_hz": [4000.0], "octaves": [0.3], "gains": [-0.5]},
            4000,
            -6.0,
        ),
    ],
)
def test_filters_have_the_gain_that_was_drawn(kind, params, hz, expected_db):
    assert gain_db(kind, params, hz, against_hz=1000) == pytest.approx(expected_db, abs=0.2)


def test_aliasing_holds_every_sample_that_it_takes():
    waveform = rng().standard_normal(1600).astype(np.float32)
    held = apply("aliasing", waveform, {"rate_hz": 8000.0, "hold": True})
    assert np.array_equal(held, np.repeat(waveform[::2], 2))


def test_a_measured_room_leaves_the_direct_path_in_its_place(tmp_path):
    response = np.zeros(1600)
    response[[400, 900]] = -1.0, 0.5
    soundfile.write(tmp_path / "room.wav", response, 16000, subtype="FLOAT")
    sources = Sources(responses={"room.wav": tmp_path / "room.wav"})
    impulse = np.zeros(16000, dtype=np.float32)
    impulse[8000] = 0.5
    params = {"response": "room.wav", "direct_to_reverberant_db": 6.0}
    heard = apply("measured_room", impulse, params, sources)
    assert int(np.argmax(heard)) == 8000
    assert heard[8500] / heard[8000] == pytest.approx(-(10 ** (-6 / 20)), rel=0.05)
