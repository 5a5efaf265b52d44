"""Which recordings to make: decided from the seed and the recording's group alone."""

import hashlib
import itertools
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from urgentmos.config import to_dict
from urgentmos.name_bytes import name_bytes
from urgentmos.simulate.chain import Step, draw_chain, versions
from urgentmos.simulate.config import MAX_VERSIONS, SimulationConfig
from urgentmos.simulate.distortion import DistortionKind
from urgentmos.simulate.material import (
    Material,
    Utterance,
    assign_splits,
    split_sources,
    split_utterances,
)
from urgentmos.simulate.material_rows import Split
from urgentmos.simulate.sources import MissingMaterialError, Sources
from urgentmos.simulate.speech_synthesis import SpeakingStyle, Voice

VERSION_LETTERS = string.ascii_lowercase[:MAX_VERSIONS]
NEEDED = {
    "noise": "noise for training and validation",
    "response": "responses for training and validation",
    "speech": "speech of two speakers each for training and validation",
}


@dataclass(frozen=True)
class Prompt:
    """A sentence to be spoken."""

    voice: Voice
    style: SpeakingStyle
    language: str
    number: int
    text: str


@dataclass(frozen=True)
class PlannedRecording:
    """One recording to make.

    Attributes:
        id: Name of its file, unique within the simulation.
        split: Side it belongs to.
        start: Speech it starts from.
        crop: Which of the utterance's crops.
        chain: Distortions applied in order.
        family: Shared by versions that differ in one strength alone, else None; no other
            simulation has it.
        strength: Of the step that differs, else of the strongest step.
    """

    id: str
    split: Split
    start: Utterance | Prompt
    crop: int
    chain: tuple[Step, ...]
    family: str | None
    strength: float


@dataclass(frozen=True)
class Plan:
    """Everything that decides what recordings a simulation makes.

    Attributes:
        config: What was asked for.
        seed: Of all random choices.
        kinds: Distortions that names refer to.
        weights: Kind → weight, of the kinds that can run here.
        lacking: Kind left out because of ``skip_missing`` → material it lacks.
        material: Speech, noises and responses, before the split.
        as_they_are: Recordings that come undistorted first.
        splits: Name of an utterance → its side.
        reference_names: Key of an utterance → name of its reference, before the crop's number.
        voices: Voices with their side.
        sentences: Language → sentences.
        sources: Noises, responses and talkers of each side.
        id: Of the simulation: another seed or configuration has another one.
    """

    config: SimulationConfig
    seed: int
    kinds: Mapping[str, DistortionKind]
    weights: Mapping[str, float]
    lacking: Mapping[str, Sequence[str]]
    material: Material
    as_they_are: Sequence[tuple[Utterance, int]]
    splits: Mapping[str, Split]
    reference_names: Mapping[str, str]
    voices: Mapping[Split, Mapping[str, Sequence[Voice]]]
    sentences: Mapping[str, Sequence[str]]
    sources: Mapping[Split, Sources]
    id: str

    def recordings(self) -> Iterator[PlannedRecording]:
        """Yield the recordings in order, as many as the configuration asks for."""
        wanted, group = self.config.num_recordings, 0
        while wanted > 0:
            planned = self.group(group)[:wanted]
            yield from planned
            wanted -= len(planned)
            group += 1

    def group(self, number: int) -> list[PlannedRecording]:
        """Plan one group: a single recording, or the versions of a family."""
        name = f"{number:06d}"
        if number < len(self.as_they_are):
            utterance, crop = self.as_they_are[number]
            split = self.splits[utterance.name]
            return [PlannedRecording(name + "a", split, utterance, crop, (), None, 0.0)]
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, number]))
        start, split = self._draw_start(rng)
        crop = int(rng.integers(self.config.crops))
        length = self._draw_length(start, rng)
        sources = self.sources_for(start, split)
        severest = self.config.severest
        chain = draw_chain(self.weights, self.kinds, length=length, rng=rng, severest=severest)
        is_family = bool(rng.uniform() < self.config.family_share) and length > 0
        if not is_family:
            strength = max((step.strength for step in chain), default=0.0)
            chains = [(strength, chain)]
        else:
            fewest, most = self.config.family_versions
            count = int(rng.integers(fewest, most + 1))
            chains = versions(chain, self.kinds, sources, count=count, rng=rng, severest=severest)
        return [
            PlannedRecording(
                id=name + letter,
                split=split,
                start=start,
                crop=crop,
                chain=tuple(one),
                family=f"{self.id}-{name}" if len(chains) > 1 else None,
                strength=strength,
            )
            for letter, (strength, one) in zip(VERSION_LETTERS, chains, strict=False)
        ]

    def sources_for(self, start: Utterance | Prompt, split: Split) -> Sources:
        """Return the side's sources, without the speaker as interference."""
        speaker = start.speaker if isinstance(start, Utterance) else None
        return self.sources[split].without_speaker(speaker)

    def _draw_start(self, rng: np.random.Generator) -> tuple[Utterance | Prompt, Split]:
        shares = self.config.shares
        pools = ["clean", "processed", "synthesised"]
        weights = np.array(
            [
                shares.clean,
                shares.processed if self.material.processed else 0.0,
                shares.synthesised if any(self.voices.values()) else 0.0,
            ]
        )
        pool = rng.choice(pools, p=weights / weights.sum())
        if pool == "synthesised":
            return self._draw_prompt(rng)
        utterances = self.material.clean if pool == "clean" else self.material.processed
        utterance = utterances[int(rng.integers(len(utterances)))]
        return utterance, self.splits[utterance.name]

    def _draw_prompt(self, rng: np.random.Generator) -> tuple[Prompt, Split]:
        for_validation = rng.uniform() < self.config.validation_share
        split: Split = "validation" if for_validation else "train"
        by_engine = self.voices[split] or self.voices["train"]
        if by_engine is not self.voices[split]:
            split = "train"
        engine = sorted(by_engine)[int(rng.integers(len(by_engine)))]
        voice = by_engine[engine][int(rng.integers(len(by_engine[engine])))]
        sentences = self.sentences[voice.language]
        number = int(rng.integers(len(sentences)))
        style = SpeakingStyle(
            tempo=float(rng.choice([0.8, 1.0, 1.0, 1.2])),
            pitch=float(rng.choice([0.7, 1.0, 1.0, 1.3])),
        )
        return Prompt(voice, style, voice.language, number, sentences[number]), split

    def _draw_length(self, start: Utterance | Prompt, rng: np.random.Generator) -> int:
        weights = np.array(self.config.num_distortions)
        clean = isinstance(start, Utterance) and start.system is None
        if not clean:
            weights[0] = 0.0
            if rng.uniform() >= self.config.distorted_share or not weights.any():
                return 0
        return int(rng.choice(4, p=weights / weights.sum()))


def make_plan(
    config: SimulationConfig,
    material: Material,
    *,
    seed: int,
    kinds: Mapping[str, DistortionKind],
    voices: Sequence[Voice],
    sentences: Mapping[str, Sequence[str]],
) -> Plan:
    """Split the material and fix everything that decides the recordings.

    Raises:
        MissingMaterialError: A kind needs noise, responses or talkers that were not given, no kind
            is left, or there is no speech of the kinds that are asked for.
    """
    share = config.validation_share
    splits = split_utterances(material, validation_share=share)
    sources = split_sources(material, splits, validation_share=share)
    used = set(splits.values())
    weights, lacking = _usable_weights(config, kinds, [sources[split] for split in used])
    shares = config.shares
    if not (
        shares.clean or (shares.processed and material.processed) or (shares.synthesised and voices)
    ):
        raise MissingMaterialError(
            f"nothing to start from: shares are {shares}, and there is no speech of these kinds"
        )
    return Plan(
        config=config,
        seed=seed,
        kinds=kinds,
        weights=weights,
        lacking=lacking,
        material=material,
        as_they_are=_as_they_are(config, material) if config.as_they_are else [],
        splits=splits,
        reference_names=_reference_names([*material.clean, *material.processed]),
        voices=_split_voices(voices, share),
        sentences=sentences,
        sources=sources,
        id=_simulation_id(config, seed=seed, weights=weights, voices=voices),
    )


def _simulation_id(
    config: SimulationConfig,
    *,
    seed: int,
    weights: Mapping[str, float],
    voices: Sequence[Voice],
) -> str:
    """Digest what decides the recordings: of kinds and engines, those that can run here."""
    settings = to_dict(config)
    settings["weights"], settings["extra_weights"] = dict(weights), {}
    settings["engines"] = sorted({voice.engine for voice in voices})
    text = json.dumps({"seed": seed, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def material_digest(plan: Plan) -> str:
    """Digest what the split and the draws depend on beside seed and configuration.

    Of noises and responses their names alone: one that was missing may be put in its place.
    """
    material = plan.material
    spoken = any(plan.voices.values())
    content = {
        "speech": [_stated(utterance) for utterance in (*material.clean, *material.processed)],
        "sources": [
            [kind, name, material.groups[name], material.splits.get(name)]
            for kind, files in (("noise", material.noises), ("rir", material.responses))
            for name in files
        ],
        "voices": {
            split: {engine: [voice.name for voice in voices] for engine, voices in side.items()}
            for split, side in plan.voices.items()
        },
        "sentences": {language: list(said) for language, said in plan.sentences.items() if spoken},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _stated(utterance: Utterance) -> dict[str, Any]:
    """Return what is known of an utterance, wherever it lies."""
    return {name: value for name, value in vars(utterance).items() if not isinstance(value, Path)}


def utterance_key(utterance: Utterance) -> str:
    """Return what decides an utterance's crops: systems with one reference are cut alike."""
    return utterance.reference_name or utterance.name


def slug(name: str) -> str:
    """Return a name as one word that can be part of a file name."""
    return re.sub(r"[^\w.@+-]+", "_", name).strip("_")


def _reference_names(utterances: Iterable[Utterance]) -> dict[str, str]:
    """Name the references; a second one that would have the name of another gets a number."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key in dict.fromkeys(map(utterance_key, utterances)):
        own = slug(str(Path(key).with_suffix("")))
        numbered = (f"{own}_{number}" for number in itertools.count(2))
        names[key] = next(n for n in itertools.chain([own], numbered) if n not in taken)
        taken.add(names[key])
    return names


def crop_bounds(
    key: str, crop: int, *, seconds: float, config: SimulationConfig
) -> tuple[float, float]:
    """Return start and length in seconds of one crop of an utterance.

    Whole when it is no longer than the longest crop.
    """
    shortest, longest = config.crop_seconds
    if seconds <= longest:
        return 0.0, seconds
    rng = crop_generator(key, crop)
    length = float(rng.uniform(shortest, longest))
    return float(rng.uniform(0, seconds - length)), length


def crop_generator(key: str, crop: int) -> np.random.Generator:
    """Return random numbers that belong to one crop of an utterance, whatever the seed."""
    digest = hashlib.sha256(name_bytes(f"{key} {crop}")).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _as_they_are(config: SimulationConfig, material: Material) -> list[tuple[Utterance, int]]:
    references = {u.reference for u in material.processed if u.reference is not None}
    wanted = [*material.processed, *(u for u in material.clean if u.path in references)]
    longest = config.crop_seconds[1]
    found = []
    for utterance in wanted:
        crops = 1 if utterance.seconds <= longest else round(utterance.seconds / longest)
        found += [(utterance, crop) for crop in range(min(max(crops, 1), config.crops))]
    return found


def _usable_weights(
    config: SimulationConfig, kinds: Mapping[str, DistortionKind], sides: Sequence[Sources]
) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Return the weights of the kinds that have their material, and what the others lack."""
    have = {
        "noise": all(side.noises for side in sides),
        "response": all(side.responses for side in sides),
        "speech": all(len({t.speaker for t in side.speech.values()}) > 1 for side in sides),
    }
    lacking = {
        name: [NEEDED[material] for material in kinds[name].material if not have[material]]
        for name in config.all_weights
    }
    lacking = {name: material for name, material in lacking.items() if material}
    if lacking and not config.skip_missing:
        named = "; ".join(f"{name} needs {', '.join(m)}" for name, m in lacking.items())
        raise MissingMaterialError(
            f"{named}. A part of each is kept for validation: give at least two, of speech four "
            "speakers, or state skip_missing=true to do without, or a weight of 0, as "
            f"extra_weights.{next(iter(lacking))}=0"
        )
    usable = {name: w for name, w in config.all_weights.items() if name not in lacking}
    if not usable and sum(config.num_distortions[1:]) > 0:
        raise MissingMaterialError(
            "no distortion can be made: none has a weight above 0 and what it needs; give noise, "
            "responses or tools, or state num_distortions=[1,0,0,0] for speech as it is"
        )
    return usable, lacking


def _split_voices(
    voices: Sequence[Voice], validation_share: float
) -> dict[Split, dict[str, list[Voice]]]:
    sides: dict[Split, dict[str, list[Voice]]] = {"train": {}, "validation": {}}
    by_engine: dict[str, list[Voice]] = {}
    for voice in voices:
        by_engine.setdefault(voice.engine, []).append(voice)
    for engine, members in by_engine.items():
        splits = assign_splits(
            (f"{engine} {voice.name}" for voice in members), validation_share=validation_share
        )
        for voice in members:
            side = sides[splits[f"{engine} {voice.name}"]]
            side.setdefault(engine, []).append(voice)
    return sides
