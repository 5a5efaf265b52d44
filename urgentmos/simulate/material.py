"""What a simulation starts from: speech, noise and responses, split before anything else."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from urgentmos.audio import AudioError, measure_duration_s
from urgentmos.audio_folders import find_audio
from urgentmos.name_bytes import name_bytes
from urgentmos.simulate.config import SimulationConfig
from urgentmos.simulate.material_rows import SPLITS, MaterialRow, Split, read_material_rows
from urgentmos.simulate.sources import MissingMaterialError, Sources, Talker

SETTINGS_FILE = "simulation.json"
"""What tells a folder that a simulation writes."""

# Of each side: babble and the like need a talker beside the speaker.
_FEWEST_SPEAKERS = 2
# ESC clips of one field recording differ in a final letter; a version follows an @, a channel
# stands in brackets.
TAKE = re.compile(r"(-[A-Z])?(\.\w+)?(@\w+)?(\[[\d,]*\])?$")


@dataclass(frozen=True)
class Utterance:
    """A recording of speech to start from.

    Attributes:
        name: Path within its collection, which identifies it.
        path: Where it lies.
        speaker: Who speaks.
        group: Utterances of one group are never on both sides of the split.
        source: Collection it comes from.
        language: Code, or None when not known.
        seconds: Duration.
        system: What processed it, or None for clean speech.
        reference: Clean reference of processed speech, or None.
        reference_name: Its path within its collection.
        split: Side the manifest puts it on, or None to draw one.
    """

    name: str
    path: Path
    speaker: str
    group: str
    source: str
    language: str | None
    seconds: float
    system: str | None = None
    reference: Path | None = None
    reference_name: str | None = None
    split: Split | None = None


@dataclass(frozen=True)
class Material:
    """All recordings of one simulation, before the split.

    Attributes:
        clean: Clean speech.
        processed: Speech that came out of a system.
        noises: Name → file.
        responses: Name → file.
        groups: Name of a noise or response → what is never on both sides of the split.
        splits: Name of a noise or response → side the manifest puts it on, where it says so.
        num_short: Recordings of speech that were left out, as too short.
        num_for_testing: Rows of the manifest that were left out, as kept for testing.
    """

    clean: list[Utterance] = field(default_factory=list)
    processed: list[Utterance] = field(default_factory=list)
    noises: dict[str, Path] = field(default_factory=dict)
    responses: dict[str, Path] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    splits: dict[str, Split] = field(default_factory=dict)
    num_short: int = 0
    num_for_testing: int = 0


def read_material(config: SimulationConfig) -> Material:
    """List the manifest and the folders of a configuration.

    Raises:
        ManifestError: A line of the manifest has no path or no known kind, or a field that cannot
            be.
        MissingMaterialError: There is no clean speech of at least ``min_seconds``, or a recording
            of speech cannot be read, or a folder holds a simulation.
    """
    material, num_for_testing = Material(), 0
    if config.manifest is not None:
        manifest = Path(config.manifest)
        root = manifest.parent if config.manifest_root is None else Path(config.manifest_root)
        rows, num_for_testing = read_material_rows(manifest)
        _add_rows(material, rows, root=root)
        _join_references(material)
    for collection, folder in _collections(config.speech):
        material.clean.extend(_folder_utterances(folder, collection))
    for folders, target in (
        (config.noise, material.noises),
        (config.responses, material.responses),
    ):
        for collection, folder in _collections(folders):
            for name, path in _audio_files(folder, collection).items():
                target[name] = path
                material.groups[name] = name
    num_listed = len(material.clean) + len(material.processed)
    for utterances in (material.clean, material.processed):
        utterances[:] = [u for u in utterances if u.seconds >= config.min_seconds]
    num_short = num_listed - len(material.clean) - len(material.processed)
    if not material.clean:
        raise MissingMaterialError(_explain_no_speech(config, num_for_testing=num_for_testing))
    return replace(material, num_short=num_short, num_for_testing=num_for_testing)


def _explain_no_speech(config: SimulationConfig, *, num_for_testing: int) -> str:
    given = [name for name in (config.manifest, *config.speech) if name]
    if not given:
        return (
            "no clean speech was given: name a folder of it with --speech, or state 'speech' or "
            "'manifest' in the configuration"
        )
    named = ", ".join(given)
    kept = f"; left out: {num_for_testing} kept for testing (split)" if num_for_testing else ""
    return f"no clean speech of at least {config.min_seconds} s was found in {named}{kept}"


def _add_rows(material: Material, rows: Iterable[MaterialRow], *, root: Path) -> None:
    for row in rows:
        if row.kind in {"noise", "rir"}:
            target = material.noises if row.kind == "noise" else material.responses
            target[row.path] = root / row.path
            origin = TAKE.sub("", row.source_path or row.path)
            material.groups[row.path] = f"{row.source_repo or ''}/{origin}"
            if row.split is not None:
                material.splits[row.path] = row.split
        elif row.kind == "processed":
            material.processed.append(_row_utterance(row, root))
        else:
            material.clean.append(_row_utterance(row, root))


def _join_references(material: Material) -> None:
    """Put processed speech with its reference, so that no reference is on both sides.

    Where the two name different speakers, their groups become one.
    """
    references = {utterance.name: utterance for utterance in material.clean}
    groups = {name: utterance.group for name, utterance in references.items()}
    joined_to: dict[str, str] = {}

    def joined(group: str) -> str:
        while group in joined_to:
            group = joined_to[group]
        return group

    for utterance in material.processed:
        if utterance.reference_name is not None:
            group = joined(utterance.group)
            wanted = joined(groups.setdefault(utterance.reference_name, group))
            if group != wanted:
                joined_to[group] = wanted
    material.clean[:] = [replace(u, group=joined(u.group)) for u in material.clean]
    for place, utterance in enumerate(material.processed):
        reference = references.get(utterance.reference_name or "")
        split = utterance.split or (reference.split if reference else None)
        material.processed[place] = replace(utterance, group=joined(utterance.group), split=split)


def _row_utterance(row: MaterialRow, root: Path) -> Utterance:
    path = root / row.path
    parts = Path(row.path).parts
    source = row.source or (parts[1] if len(parts) > 2 else parts[0])
    processed = row.kind == "processed"
    reference = row.reference if processed else None
    unnamed = f"source {source}" if reference is None else f"reference {reference}"
    return Utterance(
        name=row.path,
        path=path,
        speaker=row.speaker or source,
        group=row.speaker or unnamed,
        source=source,
        language=row.language,
        seconds=_durations_s([path])[path] if row.seconds is None else row.seconds,
        system=(row.system or source) if processed else None,
        reference=None if reference is None else root / reference,
        reference_name=reference,
        split=row.split,
    )


def _collections(folders: Iterable[str]) -> list[tuple[str, Path]]:
    """Name each folder: by its last part, or by its path where another one ends alike."""
    paths = list(map(Path, folders))
    names = {path: _name(path) for path in paths}
    alike = Counter(names.values())
    return [(names[path] if alike[names[path]] == 1 else path.as_posix(), path) for path in paths]


def _name(folder: Path) -> str:
    """Return the name of a folder, also of one given as ``.`` or ``..``; links keep theirs."""
    return Path(os.path.abspath(folder)).name


def _folder_utterances(folder: Path, collection: str) -> list[Utterance]:
    files = _audio_files(folder, collection)
    durations = _durations_s(files.values())
    return [
        Utterance(
            name=name,
            path=path,
            speaker=_name(path.parent),
            group=_name(path.parent),
            source=_name(folder),
            language=None,
            seconds=durations[path],
        )
        for name, path in files.items()
    ]


def _durations_s(paths: Iterable[Path]) -> dict[Path, float]:
    """Read the durations of files in seconds.

    Raises:
        MissingMaterialError: Some cannot be read; it names them.
    """
    found = {path: _duration_or_reason(path) for path in paths}
    unreadable = [path for path, what in found.items() if isinstance(what, str)]
    if unreadable:
        first, *others = unreadable
        more = f"; nor can {len(others)} more: {', '.join(map(str, others[:9]))}" if others else ""
        raise MissingMaterialError(
            f"{first} cannot be used: {found[first]}; repair it or take it out"
            f"{more}{', …' if len(others) > 9 else ''}"
        )
    return {path: what for path, what in found.items() if isinstance(what, float)}


def _duration_or_reason(path: Path) -> float | str:
    try:
        return measure_duration_s(path)
    except AudioError as error:
        return str(error)


def _audio_files(folder: Path, collection: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise MissingMaterialError(f"{folder} is not a folder")
    try:
        paths = find_audio(folder)
    except AudioError as error:
        raise MissingMaterialError(str(error)) from error
    _refuse_simulations(folder, paths)
    return {f"{collection}/{path.relative_to(folder).as_posix()}": path for path in paths}


def _refuse_simulations(folder: Path, paths: Iterable[Path]) -> None:
    """Refuse a folder with degraded recordings, which would be taken for clean ones."""
    for inside in dict.fromkeys(parent for path in paths for parent in path.parents):
        if inside.is_relative_to(folder) and (inside / SETTINGS_FILE).exists():
            raise MissingMaterialError(
                f"{folder} cannot be used: {inside} holds what urgentmos simulate made "
                f"({SETTINGS_FILE}), degraded recordings among it; move it elsewhere"
            )


def assign_splits(
    groups: Iterable[str], *, validation_share: float, fewest: int = 1
) -> dict[str, Split]:
    """Split groups by the order of their hashes; the same groups always fall the same way.

    Where a share is asked for, at least ``fewest`` are on each side, or half of them all.
    """
    ordered = sorted(set(groups), key=lambda group: hashlib.sha256(name_bytes(group)).digest())
    count = round(validation_share * len(ordered))
    if validation_share > 0:
        fewest = min(fewest, len(ordered) // 2)
        count = min(max(count, fewest), len(ordered) - fewest)
    return {g: "validation" if i < count else "train" for i, g in enumerate(ordered)}


def split_utterances(material: Material, *, validation_share: float) -> dict[str, Split]:
    """Return the split of each utterance's name; a speaker, or a reference, is on one side only.

    Where all are of one speaker, as in a flat folder, only a reference is.
    """
    utterances = [*material.clean, *material.processed]
    sole = _sole_group(utterances)
    groups = {u.name: u.group if sole is None else u.reference_name or u.name for u in utterances}
    splits = assign_splits(
        groups.values(), validation_share=validation_share, fewest=_FEWEST_SPEAKERS
    )
    return {u.name: u.split or splits[groups[u.name]] for u in utterances}


def tell_split(
    material: Material, utterance_splits: Mapping[str, Split], *, validation_share: float
) -> str | None:
    """Say where the split is not by speakers, or has nothing for validation; else None."""
    if validation_share == 0:
        return None
    if "validation" not in utterance_splits.values():
        return "no speech is kept for validation: all there is, is for training"
    utterances = [*material.clean, *material.processed]
    sole = _sole_group(utterances)
    if sole is None or all(utterance.split for utterance in utterances):
        return None
    return (
        f"all speech counts as that of one speaker ({sole}), so it is split file by file; if there "
        "are more, give each of them a folder, or their voices are on both sides"
    )


def _sole_group(utterances: Sequence[Utterance]) -> str | None:
    groups = {utterance.group for utterance in utterances}
    return groups.pop() if len(groups) == 1 else None


def split_sources(
    material: Material, utterance_splits: Mapping[str, Split], *, validation_share: float
) -> dict[Split, Sources]:
    """Return the noises, responses and interfering talkers of each side."""

    def side(files: Mapping[str, Path], split: Split) -> dict[str, Path]:
        splits = assign_splits(
            (material.groups[name] for name in files), validation_share=validation_share
        )
        return {
            name: path
            for name, path in files.items()
            if material.splits.get(name, splits[material.groups[name]]) == split
        }

    return {
        split: Sources(
            noises=side(material.noises, split),
            responses=side(material.responses, split),
            speech=_talkers(material.clean, utterance_splits, split),
        )
        for split in SPLITS
    }


def _talkers(
    clean: Sequence[Utterance], splits: Mapping[str, Split], split: Split
) -> dict[str, Talker]:
    return {
        u.name: Talker(path=u.path, speaker=u.speaker) for u in clean if splits[u.name] == split
    }
