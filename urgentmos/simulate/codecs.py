"""Speech and audio codecs, run through ffmpeg and sox or computed here."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import soundfile
import soxr

from urgentmos.data.alignment import lag_samples, shifted
from urgentmos.ndarray import NDArray
from urgentmos.simulate import amr_wb
from urgentmos.simulate.distortion import SAMPLE_RATE, DistortionKind, Params, Waveform, between
from urgentmos.simulate.levels import with_level_of
from urgentmos.simulate.probe import probe
from urgentmos.simulate.sources import Sources
from urgentmos.simulate.tools import ToolError, run_tool

RAW = ["-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1"]
SOX_RAW = ["-t", "raw", "-r", str(SAMPLE_RATE), "-e", "signed", "-b", "16", "-c", "1"]
LIBSNDFILE = "libsndfile"
FFMPEG = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1"]


@dataclass(frozen=True)
class FfmpegCodec:
    """A codec of ffmpeg.

    Attributes:
        encoder: Its name in ``ffmpeg -encoders``.
        settings: Encoder arguments, from the best to the worst.
        rate_hz: Sampling rate the codec works at.
        muxer: Container it is written to.
        demuxer: Container ffmpeg reads it back from, or ``LIBSNDFILE``, which starts no program.
    """

    encoder: str
    settings: tuple[tuple[str, ...], ...]
    rate_hz: int
    muxer: str
    demuxer: str

    @property
    def tool(self) -> str:
        """Name for ``missing_tools``."""
        return f"ffmpeg/{self.encoder}"

    def code(self, pcm: bytes, setting: tuple[str, ...]) -> bytes:
        """Encode and decode 16-bit samples at 16 kHz."""
        encode = [*FFMPEG, *RAW, "-i", "pipe:0", "-ar", str(self.rate_hz), "-c:a", self.encoder]
        coded = run_tool([*encode, *setting, "-f", self.muxer, "pipe:1"], stdin=pcm)
        if self.demuxer == LIBSNDFILE:
            return _decoded(coded)
        return run_tool([*FFMPEG, "-f", self.demuxer, "-i", "pipe:0", *RAW, "pipe:1"], stdin=coded)


@dataclass(frozen=True)
class SoxCodec:
    """A codec of sox; the attributes are those of ``FfmpegCodec``."""

    format: str
    settings: tuple[tuple[str, ...], ...]
    rate_hz: int

    @property
    def tool(self) -> str:
        """Name for ``missing_tools``."""
        return f"sox/{self.format}"

    def code(self, pcm: bytes, setting: tuple[str, ...]) -> bytes:
        """Encode and decode 16-bit samples at 16 kHz."""
        rate = ["-r", str(self.rate_hz)]
        target = [*setting, "-t", self.format, *rate, "-"]
        # -R makes sox's dither the same from run to run.
        coded = run_tool(["sox", "-R", "-V1", *SOX_RAW, "-", *target], stdin=pcm)
        source = ["-t", self.format, *rate, "-"]
        return run_tool(["sox", "-R", "-V1", *source, *SOX_RAW, "-"], stdin=coded)


@dataclass(frozen=True)
class AmrWbCodec:
    """AMR-WB, encoded by libvo-amrwbenc and decoded by sox; settings are its modes."""

    settings: tuple[tuple[str, ...], ...]

    @property
    def tool(self) -> str:
        """Name for ``missing_tools``."""
        return "libvo-amrwbenc"

    def code(self, pcm: bytes, setting: tuple[str, ...]) -> bytes:
        """Encode and decode 16-bit samples at 16 kHz."""
        coded = amr_wb.encode(pcm, mode=int(setting[0]))
        return run_tool(["sox", "-R", "-V1", "-t", "amr-wb", "-", *SOX_RAW, "-"], stdin=coded)


def _decoded(coded: bytes) -> bytes:
    samples, rate_hz = soundfile.read(io.BytesIO(coded), dtype="float32")
    if rate_hz != SAMPLE_RATE:
        samples = soxr.resample(samples, rate_hz, SAMPLE_RATE)
    return _pcm(samples)


def _pcm(waveform: Waveform) -> bytes:
    return (np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes()


def _bitrates(*kilobits: float | int) -> tuple[tuple[str, ...], ...]:
    return tuple(("-b:a", f"{rate * 1000:g}") for rate in kilobits)


def _opus(*options: str) -> FfmpegCodec:
    settings = tuple(
        (*rate, "-compression_level", "5", *options)
        for rate in _bitrates(48, 32, 24, 20, 16, 12, 10, 8, 7, 6)
    )
    return FfmpegCodec("libopus", settings, 16000, "ogg", LIBSNDFILE)


def _passes(count: int) -> tuple[tuple[str, ...], ...]:
    return ((),) * count


Codec: TypeAlias = FfmpegCodec | SoxCodec | AmrWbCodec

CODECS: dict[str, Codec] = {
    "opus": _opus("-application", "voip"),
    "opus_low_delay": _opus("-application", "lowdelay", "-frame_duration", "10"),
    "amr_nb": SoxCodec("amr-nb", tuple(("-C", str(mode)) for mode in range(7, -1, -1)), 8000),
    "amr_wb": AmrWbCodec(tuple((str(mode),) for mode in range(8, -1, -1))),
    "speex_nb": FfmpegCodec(
        "libspeex", _bitrates(24.6, 18.2, 15, 11, 8, 5.95, 3.95, 2.15), 8000, "ogg", "ogg"
    ),
    "speex_wb": FfmpegCodec(
        "libspeex", _bitrates(42.2, 34.2, 27.8, 20.6, 12.8, 9.8, 7.75, 5.75, 4), 16000, "ogg", "ogg"
    ),
    "mp3": FfmpegCodec(
        "libmp3lame", _bitrates(64, 48, 40, 32, 24, 16, 8), 16000, "mp3", LIBSNDFILE
    ),
    "mp3_low_rate": FfmpegCodec("libmp3lame", _bitrates(32, 24, 16, 8), 8000, "mp3", LIBSNDFILE),
    "vorbis": FfmpegCodec(
        "libvorbis", _bitrates(64, 48, 32, 24, 20, 18, 16), 16000, "ogg", LIBSNDFILE
    ),
    "aac": FfmpegCodec("aac", _bitrates(64, 48, 32, 24, 16, 12, 8, 6), 16000, "adts", "aac"),
    "mp2": FfmpegCodec("mp2", _bitrates(64, 48, 32, 24, 16, 8), 16000, "mp2", "mp3"),
    "codec2": FfmpegCodec(
        "libcodec2",
        tuple(("-mode", mode) for mode in ("3200", "2400", "1600", "1400", "1300", "1200", "700C")),
        8000,
        "codec2",
        "codec2",
    ),
    "g726": FfmpegCodec("g726", _bitrates(40, 32, 24, 16), 8000, "wav", "wav"),
}
"""Codecs with settings from the best to the worst."""

SINGLE_RATE_CODECS: dict[str, Codec] = {
    "gsm": SoxCodec("gsm", _passes(1), 8000),
    "g722": FfmpegCodec("g722", _passes(1), 16000, "g722", "g722"),
    "g723_1": FfmpegCodec("g723_1", (("-b:a", "6300"),), 8000, "wav", "wav"),
    "ima_adpcm": SoxCodec("ima", _passes(1), 8000),
    "real_144": FfmpegCodec("real_144", _passes(1), 8000, "rm", "rm"),
    "cvsd": SoxCodec("cvsd", _passes(1), 8000),
    "lpc10": SoxCodec("lpc10", _passes(1), 8000),
}
"""Codecs with one setting: the strength is how often they follow one another."""

MAX_PASSES = 3


def coded(waveform: Waveform, name: str, setting: list[str]) -> Waveform:
    """Pass a waveform through a codec, aligned and cut to its length.

    Raises:
        MissingToolError: The program is not installed.
        ToolError: The program failed.
    """
    back = _passed(waveform, name, tuple(setting))
    delay = delay_samples(name, tuple(setting))
    return with_level_of(shifted(back, delay=delay, num_samples=len(waveform)), waveform)


@cache
def delay_samples(name: str, setting: tuple[str, ...]) -> int:
    """Measure by how many samples a codec is late, once per process.

    It is the same for every recording, and a recording is a poor thing to measure it on: hum,
    noise and deep voices move the best correlation by milliseconds.

    Raises:
        MissingToolError: The program is not installed.
        ToolError: The program failed, or nothing is left of what was sent.
    """
    back = _passed(probe(), name, setting)
    if not back.any():
        raise ToolError(f"{' '.join([name, *setting])}: expected a sound back, got silence")
    return lag_samples(back, probe())


def _passed(waveform: Waveform, name: str, setting: tuple[str, ...]) -> Waveform:
    codec = {**CODECS, **SINGLE_RATE_CODECS}[name]
    # A tail lets the codec's delay run out.
    pcm = codec.code(_pcm(np.pad(waveform, (0, SAMPLE_RATE // 4))), setting)
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768


def _setting(name: str, strength: float) -> list[str]:
    settings = CODECS[name].settings
    return list(settings[min(int(strength * len(settings)), len(settings) - 1)])


def _codec_kind(name: str) -> DistortionKind:
    def sample(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
        return {"codecs": [[name, _setting(name, strength)]]}

    return DistortionKind(sample, _apply_codecs, stage=5, tools=(CODECS[name].tool,))


def _single_rate_kind(name: str) -> DistortionKind:
    codec = SINGLE_RATE_CODECS[name]

    def sample(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
        passes = 1 + min(int(strength * MAX_PASSES), MAX_PASSES - 1)
        return {"codecs": [[name, list(codec.settings[0])]] * passes}

    return DistortionKind(sample, _apply_codecs, stage=5, tools=(codec.tool,))


def _apply_codecs(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    for name, setting in params["codecs"]:
        waveform = coded(waveform, name, setting)
    return waveform


TANDEM_CODECS = ("opus", "amr_nb", "amr_wb", "speex_nb", "speex_wb", "mp3", "vorbis", "aac", "g726")


def _sample_tandem(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    names = rng.choice(TANDEM_CODECS, size=2, replace=False).tolist()
    return {"codecs": [[name, _setting(name, strength)] for name in names]}


def _companding(compress: Callable[[NDArray[Any]], NDArray[Any]]) -> DistortionKind:
    """G.711 at 8 kHz; the quieter the speech on the line, the fewer of its steps are used."""

    def sample(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
        return {"line_level_db": between(-3, -66, strength)}

    def apply(
        waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
    ) -> Waveform:
        peak = max(float(np.abs(waveform).max()), 1e-6)
        line = soxr.resample(waveform, SAMPLE_RATE, SAMPLE_RATE // 2)
        line = line / peak * 10 ** (params["line_level_db"] / 20)
        levels = compress(np.linspace(0, 1, 4097))
        code = np.round(np.sign(line) * compress(np.minimum(np.abs(line), 1)) * 127) / 127
        line = np.sign(code) * np.interp(np.abs(code), levels, np.linspace(0, 1, 4097))
        back = soxr.resample(line.astype(np.float32), SAMPLE_RATE // 2, SAMPLE_RATE)
        return with_level_of(shifted(back, delay=0, num_samples=len(waveform)), waveform)

    return DistortionKind(sample, apply, stage=5)


def _mu_law(size: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.log1p(255 * size) / np.log(256))


def _a_law(size: NDArray[Any]) -> NDArray[Any]:
    top = 1 + np.log(87.6)
    above = (1 + np.log(np.maximum(87.6 * size, 1))) / top
    return np.asarray(np.where(size < 1 / 87.6, 87.6 * size / top, above))


CODEC_KINDS: dict[str, DistortionKind] = {
    **{name: _codec_kind(name) for name in CODECS},
    **{name: _single_rate_kind(name) for name in SINGLE_RATE_CODECS},
    "mu_law": _companding(_mu_law),
    "a_law": _companding(_a_law),
    "tandem_codecs": DistortionKind(
        _sample_tandem,
        _apply_codecs,
        stage=5,
        tools=tuple(dict.fromkeys(CODECS[name].tool for name in TANDEM_CODECS)),
    ),
}
