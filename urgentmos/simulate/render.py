"""Making one planned recording: read, crop, distort, write, describe."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from urgentmos.audio import MIN_DURATION_S
from urgentmos.data.alignment import processed_lag_samples, shifted
from urgentmos.simulate.chain import apply_chain, chain_name
from urgentmos.simulate.distortion import SAMPLE_RATE, Waveform
from urgentmos.simulate.levels import SILENCE, speech_level_db
from urgentmos.simulate.material import Utterance
from urgentmos.simulate.plan import (
    Plan,
    PlannedRecording,
    Prompt,
    crop_bounds,
    crop_generator,
    slug,
    utterance_key,
)
from urgentmos.simulate.sources import read_mono
from urgentmos.simulate.speech_synthesis import synthesise
from urgentmos.whole_file import whole_file

LOUDEST = 0.99
LOUDEST_REFERENCE = 0.9


@dataclass(frozen=True)
class Start:
    """Speech before any distortion.

    Attributes:
        waveform: What the chain is applied to.
        reference: Clean reference, or None. It begins with the waveform, and is longer where
            processed speech ends early: all that is made of this crop has the same one.
        reference_id: Same for all recordings of this crop or sentence.
        system: What made the waveform, or None for clean speech.
    """

    waveform: Waveform
    reference: Waveform | None
    reference_id: str
    system: str | None


def render(recording: PlannedRecording, plan: Plan, output: Path) -> dict[str, Any]:
    """Make a recording, write it and its reference, and return its manifest row.

    The reference is written once, by whoever comes first.
    """
    start = _start(recording, plan)
    sources = plan.sources_for(recording.start, recording.split)
    waveform, distortions = apply_chain(start.waveform, recording.chain, plan.kinds, sources)
    peak = float(np.abs(waveform).max(initial=0.0))
    gain = min(1.0, LOUDEST / peak) if peak > 0 else 1.0
    audio_path = Path("audio") / recording.id[:4] / f"{recording.id}.wav"
    _write(output / audio_path, waveform * np.float32(gain))
    reference_path = None
    if start.reference is not None:
        reference_path = Path("reference") / f"{start.reference_id}.wav"
        if not (output / reference_path).exists():
            _write(output / reference_path, start.reference)
    names = [start.system] if start.system else []
    if recording.chain or not names:
        names.append(chain_name(recording.chain))
    system_id = "+".join(names)
    return {
        "audio_path": audio_path.as_posix(),
        "uid": f"{system_id}:{start.reference_id}:{recording.id}",
        "system_id": system_id,
        "reference_id": start.reference_id,
        "duration": len(waveform) / SAMPLE_RATE,
        "metrics": {},
        "meta": {
            "id": recording.id,
            "reference_path": reference_path.as_posix() if reference_path else None,
            "corpus": "simulated" if recording.chain else "undistorted",
            "split": recording.split,
            **_origin(recording.start),
            "distortions": distortions,
            "family": recording.family,
            "strength": recording.strength,
            "gain": gain,
        },
    }


def _origin(start: Utterance | Prompt) -> dict[str, Any]:
    if isinstance(start, Prompt):
        voice = start.voice
        return {
            "origin": "synthesised",
            "language": start.language,
            "speaker": f"{voice.engine} {voice.name}",
            "source": voice.engine,
            "tempo": start.style.tempo,
            "pitch": start.style.pitch,
            "text": start.text,
        }
    return {
        "origin": "clean" if start.system is None else "processed",
        "language": start.language,
        "speaker": start.speaker,
        "source": start.source,
        "utterance": start.name,
    }


def _start(recording: PlannedRecording, plan: Plan) -> Start:
    if isinstance(recording.start, Prompt):
        return _spoken(recording.start, plan)
    return _cropped(recording.start, recording.crop, plan)


def _spoken(prompt: Prompt, plan: Plan) -> Start:
    waveform = synthesise(prompt.text, prompt.voice, style=prompt.style)
    waveform = waveform[: int(plan.config.crop_seconds[1] * SAMPLE_RATE)]
    key = f"{prompt.voice.engine} {prompt.voice.name} {prompt.number}"
    return Start(
        waveform=waveform * _level_gain(waveform, key, 0, plan),
        reference=None,
        reference_id=f"text_{prompt.language}_{prompt.number}",
        system=slug(f"{prompt.voice.engine}_{prompt.voice.name}"),
    )


def _cropped(utterance: Utterance, crop: int, plan: Plan) -> Start:
    waveform = read_mono(utterance.path)
    reference = waveform
    if utterance.reference is not None:
        reference = read_mono(utterance.reference)
        delay = _delay(utterance.path, utterance.reference)
        waveform = shifted(waveform, delay=delay, num_samples=len(waveform) - max(delay, 0))
    key = utterance_key(utterance)
    seconds = len(reference) / SAMPLE_RATE
    if seconds <= plan.config.crop_seconds[1]:
        crop = 0
    begin, length = crop_bounds(key, crop, seconds=seconds, config=plan.config)
    part = slice(int(begin * SAMPLE_RATE), int((begin + length) * SAMPLE_RATE))
    waveform, reference = waveform[part], reference[part]
    if not np.any(np.abs(reference) > SILENCE):
        raise ValueError(f"{key} is silent from {begin:.1f} to {begin + length:.1f} s")
    gain = _level_gain(reference, key, crop, plan)
    shared = min(len(waveform), len(reference))
    if utterance.reference is not None and shared < MIN_DURATION_S * SAMPLE_RATE:
        raise ValueError(
            f"{utterance.name} ends before {begin:.1f} s, where this crop of {key} begins: is that "
            "its reference?"
        )
    has_reference = utterance.system is None or utterance.reference is not None
    return Start(
        waveform=waveform[:shared] * gain,
        reference=reference * gain if has_reference else None,
        reference_id=f"{plan.reference_names[key]}_{crop}",
        system=slug(utterance.system) if utterance.system else None,
    )


@cache
def _delay(processed: Path, reference: Path) -> int:
    """Measure the delay of processed speech, once for all that is made of it."""
    return processed_lag_samples(read_mono(processed), read_mono(reference))


def _level_gain(waveform: Waveform, key: str, crop: int, plan: Plan) -> np.float32:
    if plan.config.level_dbfs is None:
        return np.float32(1.0)
    lowest, highest = plan.config.level_dbfs
    # Drawn after the crop's bounds, from a generator of its own.
    wanted_db = crop_generator(f"level {key}", crop).uniform(lowest, highest)
    gain = 10 ** ((wanted_db - speech_level_db(waveform)) / 20)
    peak = max(float(np.abs(waveform).max(initial=0.0)), 1e-6)
    return np.float32(min(gain, LOUDEST_REFERENCE / peak))


def _write(path: Path, waveform: Waveform) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Workers may write one reference at the same time.
    with whole_file(path, suffix=f".{os.getpid()}.unfinished") as unfinished:
        soundfile.write(unfinished, waveform, SAMPLE_RATE, subtype="PCM_16", format="WAV")
