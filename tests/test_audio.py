import contextlib
import errno
import os
import struct
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from urgentmos.audio import (
    SAMPLE_RATE,
    AudioError,
    AudioReader,
    measure_duration_s,
    read_audio,
)


def _noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    return (0.1 * samples).clip(-0.9, 0.9)


def _write(path: Path, samples: np.ndarray, rate: int, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def _wav_header(*, data_bytes: int, channels: int = 1, rate: int = 16000, tag: int = 1) -> bytes:
    bits = 32 if tag == 3 else 16
    block = channels * bits // 8
    return (
        b"RIFF" + struct.pack("<I", min(36 + data_bytes, 0xFFFFFFFF)) + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, tag, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
        + b"data" + struct.pack("<I", data_bytes)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        (".wav", {"subtype": "PCM_U8"}, 0.01),
        (".wav", {"subtype": "PCM_16"}, 1e-4),
        (".wav", {"subtype": "PCM_24"}, 1e-6),
        (".wav", {"subtype": "DOUBLE"}, 1e-7),
        (".flac", {}, 1e-4),
        (".aiff", {}, 1e-4),
    ],
)
def test_lossless_formats_give_the_samples_written(
    tmp_path: Path, suffix: str, options: dict[str, str], tolerance: float
) -> None:
    samples = _noise(0.5, SAMPLE_RATE)
    audio = read_audio(_write(tmp_path / f"a{suffix}", samples, SAMPLE_RATE, **options))
    np.testing.assert_allclose(audio.waveform, samples[:, 0], atol=tolerance)
    assert (audio.resampled, audio.flags) == (False, ())


@pytest.mark.parametrize(
    "options",
    [{"format": "MP3"}, {"format": "OGG"}, {"format": "OGG", "subtype": "OPUS"}],
    ids=["mp3", "vorbis", "opus"],
)
def test_lossy_formats_are_read(tmp_path: Path, options: dict[str, str]) -> None:
    time = np.arange(48000) / 48000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    audio = read_audio(_write(tmp_path / "a.bin", tone, 48000, **options))
    spectrum = np.abs(np.fft.rfft(audio.waveform[2000:10000]))
    assert np.argmax(spectrum) * 16000 / 8000 == pytest.approx(440, abs=2)
    assert audio.sample_rate == 48000
    assert audio.flags == ("resampled",)


@pytest.mark.parametrize("rate", [4000, 8000, 44100, 48000, 192000])
def test_other_rates_are_resampled_as_soxr_does_in_one_piece(tmp_path: Path, rate: int) -> None:
    samples = _noise(1.0, rate).astype(np.float32)
    audio = read_audio(_write(tmp_path / "a.wav", samples, rate, subtype="FLOAT"))
    expected = soxr.resample(samples[:, 0], rate, SAMPLE_RATE, quality="HQ")
    np.testing.assert_allclose(audio.waveform, expected, atol=1e-6)
    assert (audio.sample_rate, audio.duration_s, audio.resampled) == (rate, 1.0, True)


def test_channels_are_averaged_and_flagged(tmp_path: Path) -> None:
    samples = _noise(0.1, SAMPLE_RATE, channels=8)
    audio = read_audio(_write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT"))
    np.testing.assert_allclose(audio.waveform, samples.mean(axis=1), atol=1e-6)
    assert (audio.channels, audio.flags) == (8, ("multichannel",))


@pytest.mark.parametrize(
    ("samples", "flag"),
    [
        (np.zeros(16000), "silent"),
        (np.full(16000, 0.25), "silent"),
        (np.clip(4 * np.sin(np.arange(16000) / 20), -1, 1), "clipped"),
    ],
    ids=["zeros", "dc", "clipped sine"],
)
def test_level_faults_are_flagged(tmp_path: Path, samples: np.ndarray, flag: str) -> None:
    assert read_audio(_write(tmp_path / "a.wav", samples, SAMPLE_RATE)).flags == (flag,)


def test_silent_is_what_peaks_below_70_db_under_full_scale(tmp_path: Path) -> None:
    tone = np.sin(np.arange(16000) / 20)
    for peak, flags in ((3.1e-4, ("silent",)), (3.3e-4, ())):
        path = _write(tmp_path / "a.wav", peak * tone, SAMPLE_RATE, subtype="FLOAT")
        assert read_audio(path).flags == flags


@pytest.mark.parametrize("opposite", [True, False], ids=["cancel", "constant"])
def test_channels_whose_average_is_silent_are_flagged(tmp_path: Path, opposite: bool) -> None:
    noise = _noise(1.0, SAMPLE_RATE)
    channels = [noise, -noise] if opposite else [np.full_like(noise, 0.5), np.full_like(noise, 0.1)]
    path = _write(tmp_path / "a.wav", np.hstack(channels), SAMPLE_RATE, subtype="FLOAT")
    audio = read_audio(path)
    assert np.ptp(audio.waveform) < 1e-6
    assert audio.flags == ("multichannel", "silent")


@pytest.mark.parametrize(
    ("runs", "flags"),
    [
        ((3, 0), ()),
        ((4, 0), ("clipped",)),
        ((2, 2, 2, 2, 2), ()),
    ],
)
@pytest.mark.parametrize("value", [0.9992, -0.9992, 0.9988])
def test_clipped_is_what_stays_at_full_scale_for_more_than_one_sample_in_ten_thousand(
    tmp_path: Path, runs: tuple[int, ...], flags: tuple[str, ...], value: float
) -> None:
    # Of a second at 16 kHz one sample is less than a ten-thousandth, two are more; a run's ends
    # do not count.
    samples = _noise(1.0, SAMPLE_RATE)
    for place, run in enumerate(runs):
        samples[100 * (place + 1) :][:run] = value
    path = _write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    assert read_audio(path).flags == (flags if abs(value) >= 0.999 else ())


def test_what_is_clipped_counts_as_a_share_of_all_channels(tmp_path: Path) -> None:
    samples = _noise(1.0, SAMPLE_RATE, channels=2)
    samples[100:104, 0] = 1.0
    assert read_audio(_write(tmp_path / "a.wav", samples, SAMPLE_RATE)).flags == ("multichannel",)
    samples[100:104, 1] = 1.0
    flags = read_audio(_write(tmp_path / "a.wav", samples, SAMPLE_RATE)).flags
    assert flags == ("multichannel", "clipped")


def test_a_peak_at_full_scale_is_not_clipping(tmp_path: Path) -> None:
    samples = _noise(1.0, SAMPLE_RATE)
    samples[100] = 1.0
    assert read_audio(_write(tmp_path / "a.wav", samples, SAMPLE_RATE)).flags == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_with_their_place(
    tmp_path: Path, value: float
) -> None:
    samples = _noise(2.0, SAMPLE_RATE)
    samples[24000] = value
    path = _write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"(NaN|infinite) samples, the first at 1\.500 s"):
        read_audio(path)


def test_a_file_that_breaks_off_is_used_and_flagged(tmp_path: Path) -> None:
    for suffix, options in (
        (".wav", {}),
        (".flac", {}),
        (".ogg", {}),
        (".opus", {"format": "OGG", "subtype": "OPUS"}),
        (".aiff", {}),
        (".au", {}),
        (".w64", {}),
        (".rf64", {}),
    ):
        whole = _write(
            tmp_path / f"whole{suffix}", _noise(4.0, SAMPLE_RATE), SAMPLE_RATE, **options
        )
        content = whole.read_bytes()
        half = tmp_path / f"half{suffix}"
        half.write_bytes(content[: len(content) // 2])
        assert "truncated" not in read_audio(whole).flags
        audio = read_audio(half)
        assert audio.flags[0] == "truncated"
        assert 0.5 < audio.duration_s < 2.5


def _flac_without_length(path: Path, samples: np.ndarray) -> Path:
    """FLAC as it is written to a pipe: STREAMINFO has 0 for the number of samples."""
    content = bytearray(_write(path, samples, SAMPLE_RATE).read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("seconds", [0.3, 0.5, 3.3])
def test_flac_that_was_written_to_a_pipe_is_read_to_its_end(tmp_path: Path, seconds: float) -> None:
    samples = _noise(seconds, SAMPLE_RATE)
    path = _flac_without_length(tmp_path / "a.flac", samples)
    audio = read_audio(path)
    np.testing.assert_allclose(audio.waveform, samples[:, 0], atol=1e-4)
    assert audio.flags == ()
    assert measure_duration_s(path) == seconds
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    if seconds > 1:
        assert read_audio(path).flags == ("truncated",)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_that_goes_on_with_a_further_stream_is_flagged(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.ogg"
    _write(path, _noise(2.0, SAMPLE_RATE), SAMPLE_RATE, format="OGG", subtype=subtype)
    assert read_audio(path).flags == ()
    path.write_bytes(2 * path.read_bytes())
    assert read_audio(path).flags == ("truncated",)


@pytest.mark.parametrize("between", [b"", b"TAG".ljust(128, b"\0"), b"ID3\4" + bytes(6)])
def test_joined_mp3_is_read_to_its_end_although_its_beginning_states_a_length(
    tmp_path: Path, between: bytes
) -> None:
    options = {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.5}
    path = _write(tmp_path / "a.mp3", _noise(4.0, SAMPLE_RATE), SAMPLE_RATE, **options)
    one = path.read_bytes()
    assert read_audio(path).duration_s == 4.0
    path.write_bytes(one + between + one)
    audio = read_audio(path)
    assert audio.duration_s == pytest.approx(8.0, abs=0.3)
    assert audio.flags == ()
    assert measure_duration_s(path) == audio.duration_s


def test_mp3_whose_first_frame_does_not_count_the_others_is_read_to_its_end(tmp_path: Path) -> None:
    options = {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.5}
    # Quiet first: by the bit rate there the rest would be taken to be shorter.
    samples = np.concatenate([np.zeros((SAMPLE_RATE, 1)), _noise(4.0, SAMPLE_RATE)])
    path = _write(tmp_path / "a.mp3", samples, SAMPLE_RATE, **options)
    content = bytearray(path.read_bytes())
    flags = content.index(b"Xing") + 4
    content[flags : flags + 4] = bytes(4)
    path.write_bytes(content)
    audio = read_audio(path)
    assert audio.duration_s == pytest.approx(5.0, abs=0.2)
    assert audio.flags == ()
    assert measure_duration_s(path) == audio.duration_s


def test_mp3_that_states_a_length_and_lacks_its_last_tenth_is_flagged(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.mp3", _noise(4.0, SAMPLE_RATE), SAMPLE_RATE, format="MP3")
    content = whole.read_bytes()
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(content[: len(content) * 9 // 10])
    assert "truncated" not in read_audio(whole).flags
    assert "truncated" in read_audio(cut).flags


def test_integers_of_32_bits_in_floats_are_audio_and_larger_ones_are_not(tmp_path: Path) -> None:
    samples = _noise(1.0, SAMPLE_RATE)
    samples[7] = -(2.0**31)
    read_audio(_write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT"))
    samples[7] = -1.1 * 2.0**31
    with pytest.raises(AudioError, match="not audio, or damaged"):
        read_audio(_write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT"))


def _without_length(path: Path, samples: np.ndarray) -> bytes:
    """MP3 of a varying bit rate without the first frame, which states the length."""
    options = {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.5}
    content = _write(path, samples, SAMPLE_RATE, **options).read_bytes()
    assert b"Xing" in content[:200]
    return content[content.index(content[:2], 2) :]


def test_mp3_that_does_not_state_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    # Of the quiet beginning libsndfile takes the rest to be shorter, of the loud one longer.
    noise = _noise(6.0, SAMPLE_RATE)
    loud_end = np.concatenate([np.zeros_like(noise), noise])
    picture = b"ID3" + bytes([4, 0, 0, 0, 0, 8, 0]) + bytes(8 * 128)
    path = tmp_path / "a.mp3"
    for samples in (noise, loud_end, loud_end[::-1]):
        content = _without_length(path, samples)
        for before, behind in ((b"", b""), (picture, b"TAG".ljust(128, b"\0"))):
            path.write_bytes(before + content + behind)
            audio = read_audio(path)
            assert audio.duration_s == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.1)
            assert audio.flags == ()
        path.write_bytes(content[: len(content) * 3 // 4])
        assert audio.duration_s / 3 < read_audio(path).duration_s < audio.duration_s


def _ape_tag(content: bytes, *, header: bool) -> bytes:
    item = struct.pack("<II", len(content), 0) + b"Cover Art\0" + content
    counts = (2000, len(item) + 32, 1)
    footer = b"APETAGEX" + struct.pack("<IIII8x", *counts, 0x80000000 * header)
    return (
        b"APETAGEX" * header + struct.pack("<IIII8x", *counts, 0xA0000000) * header + item + footer
    )


def test_tags_behind_mp3_that_does_not_state_its_length_are_no_damage(tmp_path: Path) -> None:
    # An odd number of frames of 576 samples: with an error at the end the last of them is lost.
    content = _without_length(tmp_path / "a.mp3", _noise(3.036, SAMPLE_RATE))
    picture = np.random.default_rng(0).bytes(3000)
    lyrics = b"LYRICSBEGIN" + bytes(3000)
    id3v1 = b"TAG".ljust(128, b"\0")
    tags = {
        "ape": _ape_tag(picture, header=True),
        "ape version 1, id3v1": _ape_tag(picture, header=False) + id3v1,
        "lyrics3 version 1": b"LYRICSBEGIN" + b"la " * 1000 + b"LYRICSEND" + id3v1,
        "lyrics3 version 2": lyrics + f"{len(lyrics):06}LYRICS200".encode() + id3v1,
        "extended id3v1": b"TAG+".ljust(227, b"\0") + id3v1 + _ape_tag(picture, header=True),
        "id3v2.4": b"ID3\4\0\x10\0\0\2\0" + bytes(256) + b"3DI\4\0\x10\0\0\2\0",
    }
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    expected = read_audio(path)
    assert len(expected.waveform) == 87 * 576
    for name, tag in {**tags, "all": b"".join(tags.values())}.items():
        path.write_bytes(content + tag)
        audio = read_audio(path)
        assert audio.flags == (), name
        assert np.array_equal(audio.waveform, expected.waveform), name
    # Neither tags whose size cannot be nor tags alone lead in front of the audio.
    for tag in (_ape_tag(b"", header=True)[:-20] + b"\xff" * 20, b"999999LYRICS200", b"LYRICSEND"):
        path.write_bytes(content + tag)
        assert np.array_equal(read_audio(path).waveform, expected.waveform)
    path.write_bytes(content + picture)
    assert "truncated" in read_audio(path).flags


def test_a_stream_that_is_not_read_to_its_end_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(100 * _without_length(path, _noise(6.0, SAMPLE_RATE)))
    files = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    threads = threading.active_count()
    with AudioReader(path) as reader:
        next(reader.blocks())
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == files


@pytest.mark.parametrize(("suffix", "chunk"), [(".aiff", b"SSND"), (".au", b".snd")])
def test_what_sox_wrote_to_a_pipe_is_whole(tmp_path: Path, suffix: str, chunk: bytes) -> None:
    path = _write(tmp_path / f"a{suffix}", _noise(1.0, SAMPLE_RATE), SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    length_at = content.index(chunk) + (4 if suffix == ".aiff" else 8)
    content[length_at : length_at + 4] = {".aiff": b"\x7f\0\0\x08", ".au": b"\xff" * 4}[suffix]
    path.write_bytes(content)
    audio = read_audio(path)
    assert audio.flags == ()
    assert audio.duration_s == pytest.approx(1.0)


def test_a_wav_that_was_written_to_a_pipe_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    pcm = (_noise(1.0, SAMPLE_RATE)[:, 0] * 32767).astype("<i2").tobytes()
    for claimed in (0xFFFFFFFF, 0x7FFFF000):
        path.write_bytes(_wav_header(data_bytes=claimed) + pcm)
        audio = read_audio(path)
        assert (len(audio.waveform), audio.flags) == (16000, ())


@pytest.mark.parametrize("riff_bytes", [0, 36], ids=["nothing stated", "a header alone"])
@pytest.mark.parametrize("notes", [b"", b"LIST\6\0\0\0data\0\0"])
def test_wav_of_a_recorder_that_was_killed_is_read_to_its_end_and_flagged(
    tmp_path: Path, riff_bytes: int, notes: bytes
) -> None:
    header = bytearray(_wav_header(data_bytes=0))
    header[4:8] = struct.pack("<I", riff_bytes and riff_bytes + len(notes))
    samples = np.random.default_rng(0).integers(-3000, 3000, 32000).astype("<i2")
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(header[:36]) + notes + bytes(header[36:]) + samples.tobytes() + b"\1")
    audio = read_audio(path)
    np.testing.assert_array_equal(audio.waveform, samples / np.float32(1 << 15))
    assert audio.flags == ("truncated",)
    assert measure_duration_s(path) == 2.0


def test_notes_behind_a_wav_without_samples_are_not_taken_for_such(tmp_path: Path) -> None:
    notes = b"LIST" + struct.pack("<I", 2000) + bytes(2000)
    header = bytearray(_wav_header(data_bytes=0))
    header[4:8] = struct.pack("<I", 36 + len(notes))
    (tmp_path / "a.wav").write_bytes(header + notes)
    with pytest.raises(AudioError, match="no samples: the file has a header and no audio"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"empty file \(0 bytes\)"),
        (b"hello " * 1000, "not readable as audio: Format not recognised"),
        (_wav_header(data_bytes=0), "no samples"),
        (_wav_header(data_bytes=2) + b"\0\1", r"too short: 1 samples, 0.0625 ms"),
        (_wav_header(data_bytes=798) + bytes(798), "too short: 399 samples"),
        (_wav_header(data_bytes=800, rate=1) + bytes(800), "sample rate 1 Hz lies outside"),
        (_wav_header(data_bytes=800, rate=0xFFFFFFF) + bytes(800), "sample rate|not readable"),
        (_wav_header(data_bytes=800, channels=0) + bytes(800), "not readable"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        read_audio(path)


def test_400_samples_at_16_khz_are_enough(tmp_path: Path) -> None:
    assert len(read_audio(_write(tmp_path / "a.wav", _noise(0.025, 16000), 16000)).waveform) == 400


def test_missing_files_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="no such file"):
        read_audio(tmp_path / "missing.wav")
    with pytest.raises(AudioError, match="is a folder"):
        read_audio(tmp_path)
    with pytest.raises(AudioError, match="not a regular file"):
        read_audio(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match=r"cannot be opened: .*too long"):
        read_audio(tmp_path / ("x" * 300))
    with pytest.raises(AudioError, match=r"cannot be opened: .*null"):
        read_audio("a\0b")


@pytest.mark.parametrize("path", ["~/speech/a.wav", "speech/*.wav"])
def test_what_only_a_shell_expands_is_told(path: str) -> None:
    with pytest.raises(AudioError, match=r"no such file; ~, .* mean something to a shell only"):
        read_audio(path)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("https://host.example/a.wav", "; nothing is downloaded here: fetch it first"),
        (Path("s3://bucket/a.wav"), "; nothing is downloaded here: fetch it first"),
        ("-", "; audio is not read from stdin: write it to a file first"),
        ("C:/speech/a.wav", ""),
    ],
)
def test_what_is_no_file_is_told_with_the_way_out(path: str | Path, hint: str) -> None:
    with pytest.raises(AudioError, match=f"^no such file{hint}$"):
        read_audio(path)


def test_formats_that_need_converting_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " * 20)
    with pytest.raises(AudioError, match=r"not readable as audio: .*; convert to WAV .* ffmpeg"):
        read_audio(tmp_path / "a.m4a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _noise(0.1, 16000), 16000)
    path.chmod(0)
    with pytest.raises(AudioError, match="no permission"):
        read_audio(path)


def test_a_refused_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(AudioError, match="no permission to read the file"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("channels", [1, 8, 1024])
def test_a_header_that_claims_gigabytes_takes_little_memory(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(_wav_header(data_bytes=0x70000000, channels=channels) + bytes(4096 * channels))
    tracemalloc.start()
    try:
        assert "truncated" in read_audio(path).flags
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_reader_leaves_no_open_file(tmp_path: Path) -> None:
    good = _write(tmp_path / "a.wav", _noise(0.1, 16000), 16000)
    bad = tmp_path / "b.wav"
    bad.write_bytes(b"text" * 100)
    slow = tmp_path / "c.wav"
    slow.write_bytes(_wav_header(data_bytes=800, rate=1) + bytes(800))
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    read_audio(good)
    for path in (bad, slow):
        with pytest.raises(AudioError):
            read_audio(path)
    after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert after == before


@pytest.mark.parametrize(
    "options",
    [{"format": "MP3"}, {"format": "OGG", "subtype": "VORBIS"}],
    ids=lambda options: options["format"],
)
def test_a_failing_disk_is_the_reason_of_its_file_and_leaves_it_closed(
    tmp_path: Path, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "a", _noise(1.0, SAMPLE_RATE), SAMPLE_RATE, **options)
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    # Tags and pages are read here, the rest by libsndfile.
    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(AudioError, match="cannot be read: Input/output error"):
        read_audio(path)
    after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert after == before


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 96000])
def test_blocks_last_about_half_a_second_and_end_where_frames_of_flac_do(
    tmp_path: Path, rate: int
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(rate), rate)
    with AudioReader(path, sample_rate=rate) as reader:
        block = next(reader.blocks())
    assert 0.4 < len(block) / rate < 0.6
    assert len(block) % 4096 == 0


def test_blocks_joined_are_the_whole(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", _noise(3.0, 44100, channels=2), 44100)
    with AudioReader(path) as reader:
        joined = np.concatenate(list(reader.blocks()))
    np.testing.assert_array_equal(joined, read_audio(path).waveform)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    samples = _noise(0.2, 16000)
    kinds = (("wav", {}), ("flac", {}), ("ogg", {}), ("aiff", {}))
    return [
        _write(folder / f"a.{kind}", samples, 16000, **options).read_bytes()
        for kind, options in kinds
    ]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_files_give_audio_or_a_reason(
    data: st.DataObject, seeds: list[bytes], tmp_path: Path
) -> None:
    content = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 8))):
        # Headers decide, and they are short: damage is drawn there as often as in the audio.
        last = data.draw(st.sampled_from([64, len(content) - 1]))
        content[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with contextlib.suppress(AudioError):
        assert np.isfinite(read_audio(path).waveform).all()
