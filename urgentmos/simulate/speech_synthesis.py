"""Speech synthesised from text by the engines installed on this machine."""

import io
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from urgentmos.config import ConfigError
from urgentmos.simulate.distortion import SAMPLE_RATE, Waveform
from urgentmos.simulate.tools import ToolError, check_tools, run_tool

ESPEAK_VARIANTS = (
    "", "+m1", "+m2", "+m3", "+m4", "+m5", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5",
    "+croak", "+whisper", "+klatt2", "+klatt4",
)  # fmt: skip

FESTIVAL_LANGUAGES = {
    "kal_diphone": "en",
    "ked_diphone": "en",
    "cmu_us_slt_arctic_hts": "en",
    "suo_fi_lj_diphone": "fi",
    "hy_fi_mv_diphone": "fi",
    "lp_diphone": "it",
    "pc_diphone": "it",
    "msu_ru_nsh_clunits": "ru",
    "czech_dita": "cs",
    "czech_machac": "cs",
    "czech_ph": "cs",
    "upc_ca_ona_hts": "ca",
    "hindi_NSK_diphone": "hi",
}
"""Festival does not say which language a voice speaks."""

FESTIVAL_ENCODINGS = {"cs": "iso-8859-2", "fi": "latin-1", "it": "latin-1", "ca": "latin-1"}
TOOLS = {"espeak-ng": "espeak-ng", "flite": "flite", "festival": "text2wave"}


@dataclass(frozen=True)
class Voice:
    """A voice of a speech synthesis engine."""

    engine: str
    name: str
    language: str


@dataclass(frozen=True)
class SpeakingStyle:
    """How a voice is asked to speak, 1.0 being its own way; some voices cannot change it."""

    tempo: float = 1.0
    pitch: float = 1.0


def installed_voices(engines: Iterable[str], *, languages: Iterable[str]) -> list[Voice]:
    """List the voices of the engines that speak one of the languages.

    Raises:
        MissingToolError: An engine is not installed.
        ConfigError: An engine is unknown.
    """
    wanted = set(languages)
    voices: list[Voice] = []
    for engine in engines:
        if engine not in TOOLS:
            raise ConfigError(f"unknown engine {engine!r}; expected one of {', '.join(TOOLS)}")
        check_tools([TOOLS[engine]])
        voices += [voice for voice in _voices(engine) if voice.language in wanted]
    return voices


def synthesise(text: str, voice: Voice, *, style: SpeakingStyle) -> Waveform:
    """Speak a text.

    Returns:
        Mono waveform at 16 kHz, from the first to the last sound above -50 dB.

    Raises:
        MissingToolError: The engine is not installed.
        ToolError: It failed, or said nothing.
    """
    check_tools([TOOLS[voice.engine]])
    speak = {"espeak-ng": _espeak, "flite": _flite, "festival": _festival}[voice.engine]
    samples, rate_hz = soundfile.read(io.BytesIO(speak(text, voice, style)), dtype="float32")
    waveform = soxr.resample(samples, rate_hz, SAMPLE_RATE).astype(np.float32)
    size = np.abs(waveform)
    heard = np.flatnonzero(size > size.max(initial=0.0) * 10 ** (-50 / 20))
    if len(heard) < SAMPLE_RATE // 4:
        raise ToolError(f"{voice.engine} voice {voice.name} said nothing for {text!r}")
    margin = SAMPLE_RATE // 10
    return np.asarray(waveform[max(0, heard[0] - margin) : heard[-1] + margin])


def _espeak(text: str, voice: Voice, style: SpeakingStyle) -> bytes:
    speed = [
        "-s",
        str(round(165 * style.tempo)),
        "-p",
        str(round(np.clip(50 * style.pitch, 0, 99))),
    ]
    wav = run_tool(
        ["espeak-ng", "-v", voice.name, *speed, "--stdin", "--stdout"], stdin=text.encode()
    )
    return _with_true_length(wav)


def _with_true_length(wav: bytes) -> bytes:
    """Write the length into a WAV header that came through a pipe."""
    data = wav.find(b"data") + 8
    sizes = (len(wav) - 8).to_bytes(4, "little"), (len(wav) - data).to_bytes(4, "little")
    return wav[:4] + sizes[0] + wav[8 : data - 4] + sizes[1] + wav[data:]


def _flite(text: str, voice: Voice, style: SpeakingStyle) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        stretch = f"duration_stretch={1 / style.tempo:.3f}"
        command = ["flite", "-voice", voice.name, "--setf", stretch]
        if voice.name.startswith("kal"):
            command += ["--setf", f"int_f0_target_mean={105 * style.pitch:.1f}"]
        run_tool([*command, "-t", text, "-o", str(target)])
        return target.read_bytes()


def _festival(text: str, voice: Voice, style: SpeakingStyle) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        setup = f"(begin (voice_{voice.name}) (Parameter.set 'Duration_Stretch {1 / style.tempo}))"
        encoding = FESTIVAL_ENCODINGS.get(voice.language, "utf-8")
        run_tool(
            ["text2wave", "-eval", setup, "-o", str(target)],
            stdin=text.encode(encoding, errors="ignore"),
        )
        return target.read_bytes()


@cache
def _voices(engine: str) -> tuple[Voice, ...]:
    if engine == "flite":
        names = run_tool(["flite", "-lv"]).decode().partition(":")[2].split()
        return tuple(Voice(engine, name, "en") for name in names if name != "awb_time")
    if engine == "festival":
        listing = run_tool(["festival", "-b", "(print (voice.list))"]).decode()
        names = re.findall(r"[\w]+", listing)
        return tuple(
            Voice(engine, n, FESTIVAL_LANGUAGES[n]) for n in names if n in FESTIVAL_LANGUAGES
        )
    lines = run_tool(["espeak-ng", "--voices"]).decode().splitlines()[1:]
    codes = [line.split()[1] for line in lines]
    return tuple(
        Voice(engine, code + variant, code.split("-")[0])
        for code in codes
        for variant in ESPEAK_VARIANTS
    )


def read_sentences(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Read ``language<TAB>sentence`` lines.

    Raises:
        ConfigError: A line has no tab; the message gives its number.
    """
    sentences: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        language, tab, sentence = line.partition("\t")
        if not tab or not sentence.strip():
            raise ConfigError(
                f"{path}, line {number}: expected language<TAB>sentence, got {line!r}"
            )
        sentences[language] = (*sentences.get(language, ()), sentence.strip())
    return sentences
