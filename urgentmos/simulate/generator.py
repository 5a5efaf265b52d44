"""Making all recordings of a plan: over processes, resumable, the same whatever their number."""

import contextlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from urgentmos.config import ConfigError, to_dict
from urgentmos.data.manifest import ManifestError
from urgentmos.file_lock import lock_folder
from urgentmos.name_bytes import JSON_ERRORS
from urgentmos.simulate.config import SimulationConfig
from urgentmos.simulate.distortion import DistortionKind
from urgentmos.simulate.kinds import DISTORTIONS, unavailable_kinds
from urgentmos.simulate.material import SETTINGS_FILE, read_material, tell_split
from urgentmos.simulate.plan import Plan, PlannedRecording, make_plan, material_digest
from urgentmos.simulate.render import render
from urgentmos.simulate.sentences import SENTENCES
from urgentmos.simulate.speech_synthesis import (
    TOOLS,
    Voice,
    installed_voices,
    read_sentences,
)
from urgentmos.simulate.tools import INSTALL, MissingToolError, missing_tools
from urgentmos.terminal_size import bar_size
from urgentmos.whole_file import write_whole
from urgentmos.whole_lines import read_whole_lines

FAILURES = (OSError, ValueError, RuntimeError, ArithmeticError, LookupError)
_ROW_REMEDY = "take out what is damaged, and its recordings are made again"
Row: TypeAlias = dict[str, Any]
Attempt: TypeAlias = tuple[str, Row | None, str]
"""Identifier, row or None, and the reason there is none."""


class WorkerDiedError(OSError):
    """A worker process ended before its work was done: killed, or by an error of its own."""


@dataclass(frozen=True)
class Outcome:
    """What a simulation left behind.

    Attributes:
        manifest: The manifest written.
        num_made: Recordings in it.
        num_for_validation: Those of them that are not for training.
        failed: Identifier → reason of each recording that could not be made.
        skipped: Kind or engine → tools or material it lacks, left out because of
            ``skip_missing``.
        notes: What is odd about the material: recordings left out, as too short or kept for
            testing, and the split of the speech.
    """

    manifest: Path
    num_made: int
    num_for_validation: int
    failed: Mapping[str, str]
    skipped: Mapping[str, Sequence[str]]
    notes: Sequence[str] = ()


def generate(
    config: SimulationConfig,
    output: Path,
    *,
    seed: int = 0,
    workers: int = 1,
    kinds: Mapping[str, DistortionKind] = DISTORTIONS,
    is_wanted: Callable[[PlannedRecording], bool] = lambda recording: True,
    progress: bool = True,
) -> Outcome:
    """Make recordings and their manifest; a second call goes on where the first stopped.

    Args:
        config: What to make.
        output: Folder for ``audio/``, ``reference/``, ``manifest.jsonl``, ``failed.jsonl``.
        seed: Of all random choices; recording by recording, whatever the number of workers.
        workers: Processes.
        kinds: Distortions that the configuration's weights refer to.
        is_wanted: Whether to make a planned recording; what is made is as it is among all of them.
        progress: Show a bar on standard error.

    Raises:
        ConfigError: A weight names an unknown kind, or the folder holds another simulation, or one
            of other material, or recordings would be written among the material, or more than
            one worker where processes are not forked (Windows).
        ManifestError: A row of an earlier run is damaged.
        MissingToolError: A kind needs a tool that is not installed.
        MissingMaterialError: A kind needs recordings that were not given, or a folder of material
            holds another simulation.
        WorkerDiedError: A process was killed, or met an error that is not a recording's fault; what
            was made is kept.
        FileLockedError: Another run is making recordings in this folder.
    """
    if workers > 1 and "fork" not in multiprocessing.get_all_start_methods():
        raise ConfigError(f"{workers} workers: this system forks no processes; use 1")
    _check_apart(output, config)
    config, skipped = _runnable(config, kinds)
    plan = plan_simulation(config, seed=seed, kinds=kinds)
    output.mkdir(parents=True, exist_ok=True)
    with lock_folder(output) as lock:
        _check_same(output, plan)
        wanted = [recording for recording in plan.recordings() if is_wanted(recording)]
        manifest, made, failed = _make(
            wanted, plan, output, workers=workers, progress=progress, lock=lock
        )
    return Outcome(
        manifest=manifest,
        num_made=len(made),
        num_for_validation=sum(row["meta"]["split"] == "validation" for row in made),
        failed=failed,
        skipped={**skipped, **plan.lacking},
        notes=_notes(plan),
    )


def _check_apart(output: Path, config: SimulationConfig) -> None:
    """Refuse an output whose recordings the next run would take for material."""
    written = [(output / name).resolve() for name in ("audio", "reference")]
    for folder in (*config.speech, *config.noise, *config.responses):
        material = Path(folder).resolve()
        if any(w.is_relative_to(material) or material.is_relative_to(w) for w in written):
            raise ConfigError(
                f"{output}: what is made there would be inside {folder}, a folder of material, and "
                "be taken for material when the run goes on; choose an output outside of it"
            )


def _notes(plan: Plan) -> list[str]:
    notes = []
    material = plan.material
    if material.num_short:
        num_listed = material.num_short + len(material.clean) + len(material.processed)
        notes.append(
            f"left out: {material.num_short} of {num_listed} files of speech, shorter than "
            f"{plan.config.min_seconds:g} s (min_seconds)"
        )
    if material.num_for_testing:
        notes.append(
            f"left out of {plan.config.manifest}: {material.num_for_testing} kept for testing "
            "(split)"
        )
    share = plan.config.validation_share
    split = tell_split(material, plan.splits, validation_share=share)
    return notes if split is None else [*notes, split]


def _make(
    recordings: Sequence[PlannedRecording],
    plan: Plan,
    output: Path,
    *,
    workers: int,
    progress: bool,
    lock: int | None,
) -> tuple[Path, list[Row], dict[str, str]]:
    """Make what is not made yet; give the manifest, its rows and what failed."""
    part = output / "rows.part.jsonl"
    done = _read_rows(part)
    _write_lines(part, list(done.values()))
    todo = [recording for recording in recordings if recording.id not in done]
    failed: dict[str, str] = {}
    bar = tqdm(
        total=len(recordings),
        initial=len(done),
        unit="rec",
        disable=not progress,
        **bar_size(),
    )
    with bar, part.open("a", encoding="utf-8", errors=JSON_ERRORS) as lines:
        for identifier, row, reason in _run(todo, plan, output, workers=workers, lock=lock):
            if row is None:
                failed[identifier] = reason
            else:
                done[identifier] = row
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
                lines.flush()
            bar.update()
    made = [done[recording.id] for recording in recordings if recording.id in done]
    manifest = output / "manifest.jsonl"
    _write_lines(manifest, made)
    _write_lines(
        output / "failed.jsonl", [{"id": name, "reason": why} for name, why in failed.items()]
    )
    return manifest, made, failed


def plan_simulation(
    config: SimulationConfig, *, seed: int, kinds: Mapping[str, DistortionKind] = DISTORTIONS
) -> Plan:
    """Read the material of a configuration and fix what will be made from it.

    Any recording can then be made alone: ``render(plan.group(12)[0], plan, folder)``.
    """
    sentences = read_sentences(Path(config.text)) if config.text else SENTENCES
    voices: list[Voice] = []
    if config.shares.synthesised > 0:
        voices = installed_voices(config.engines, languages=sentences)
    return make_plan(
        config,
        read_material(config),
        seed=seed,
        kinds=kinds,
        voices=voices,
        sentences=sentences,
    )


def _runnable(
    config: SimulationConfig, kinds: Mapping[str, DistortionKind]
) -> tuple[SimulationConfig, dict[str, list[str]]]:
    """Check the kinds and engines asked for; leave out what cannot run, if that is allowed."""
    unknown = sorted({*config.weights, *config.extra_weights} - set(kinds))
    if unknown:
        raise ConfigError(f"weights: unknown kinds {unknown}; known are {sorted(kinds)}")
    lacking = unavailable_kinds({name: kinds[name] for name in config.all_weights})
    if config.shares.synthesised > 0:
        lacking |= {
            e: [TOOLS[e]] for e in config.engines if e in TOOLS and missing_tools([TOOLS[e]])
        }
    if lacking and not config.skip_missing:
        named = "; ".join(f"{name} needs {', '.join(tools)}" for name, tools in lacking.items())
        programs = sorted(
            {INSTALL.get(t.split("/")[0], t) for tools in lacking.values() for t in tools}
        )
        raise MissingToolError(
            f"not available on this machine: {named}. Install {', '.join(programs)}, or state "
            "skip_missing=true to do without them"
        )
    data = to_dict(config)
    data["weights"] = {n: w for n, w in config.all_weights.items() if n not in lacking}
    data["extra_weights"] = {}
    data["engines"] = [engine for engine in config.engines if engine not in lacking]
    return SimulationConfig(**{**data, "shares": config.shares}), lacking


def _check_same(output: Path, plan: Plan) -> None:
    settings = {"seed": plan.seed, **to_dict(plan.config)}
    material = material_digest(plan)
    path = output / SETTINGS_FILE
    if path.exists():
        before = _read_settings(path)
        # Simulations begun by earlier versions do not have it.
        material_before = before.pop("material", material)
        now = json.loads(json.dumps(settings))
        changed = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
        if changed:
            raise ConfigError(
                f"{output} holds a simulation with other settings ({', '.join(changed)}); "
                "choose another folder, or remove this one"
            )
        if material != material_before:
            raise ConfigError(
                f"{output} holds a simulation of other material: speech, noise, responses, voices "
                "or sentences were added, removed or changed since, which moves what is for "
                "validation; choose another folder, or remove this one"
            )
    text = json.dumps({**settings, "material": material}, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text, errors=JSON_ERRORS)


def _read_settings(path: Path) -> dict[str, Any]:
    remedy = "it tells which simulation its folder holds: choose another folder, or remove this one"
    try:
        settings = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}; {remedy}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected keys and values; {remedy}")
    return settings


def _read_rows(path: Path) -> dict[str, Row]:
    """Read what earlier runs made, by identifier; nothing where there is no file."""
    try:
        lines = read_whole_lines(path)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8: {error}; {_ROW_REMEDY}") from error
    return dict(_read_row(line, where=f"{path}:{n}") for n, line in enumerate(lines, start=1))


def _read_row(line: str, *, where: str) -> tuple[str, Row]:
    try:
        row = json.loads(line)
        return str(row["meta"]["id"]), row
    except (ValueError, LookupError, TypeError) as error:
        raise ManifestError(f"{where}: expected the row of a recording; {_ROW_REMEDY}") from error


def _run(
    todo: Sequence[PlannedRecording],
    plan: Plan,
    output: Path,
    *,
    workers: int,
    lock: int | None,
) -> Iterator[Attempt]:
    """Yield identifier, row or None, and the reason there is none, in any order."""
    if workers <= 1:
        for recording in todo:
            yield _attempt(recording, plan, output)
        return
    # Forked workers share the plan, whose kinds may hold what cannot be pickled. Nothing here
    # starts threads of torch, next to which a fork could hang.
    context = multiprocessing.get_context("fork")
    processes: dict[Connection, BaseProcess] = {}
    for number in range(workers):
        reader, writer = context.Pipe(duplex=False)
        arguments = (todo[number::workers], plan, output, reader, writer, lock)
        processes[reader] = context.Process(target=_work, args=arguments, daemon=True)
        processes[reader].start()
        writer.close()
    try:
        yield from _collect(processes)
    finally:
        for process in processes.values():
            process.terminate()


def _collect(processes: Mapping[Connection, BaseProcess]) -> Iterator[Attempt]:
    working = dict(processes)
    while working:
        for reader in [r for r in working if r in wait(list(working))]:
            try:
                message = reader.recv()
            except EOFError:
                raise WorkerDiedError(_explain_end(working[reader])) from None
            if message is None:
                working.pop(reader).join()
            else:
                yield message


def _explain_end(process: BaseProcess) -> str:
    process.join()
    status = process.exitcode or 0
    if status < 0:
        return (
            f"a worker was killed (signal {-status}; out of memory, perhaps); run the same command "
            "again to go on"
        )
    return "a worker met an error that nothing foresees: it stands above; what is made is kept"


def _work(
    recordings: Sequence[PlannedRecording],
    plan: Plan,
    output: Path,
    reader: Connection,
    writer: Connection,
    lock: int | None,
) -> None:
    # So that a worker whose parent was killed cannot send, and ends: while it held this end itself,
    # it would wait for ever once the pipe is full.
    reader.close()
    # A run that takes over from a killed one need not wait for this worker to notice.
    if lock is not None:
        os.close(lock)
    with contextlib.suppress(BrokenPipeError):
        for recording in recordings:
            writer.send(_attempt(recording, plan, output))
        writer.send(None)


def _attempt(recording: PlannedRecording, plan: Plan, output: Path) -> Attempt:
    try:
        return recording.id, render(recording, plan, output), ""
    except FAILURES as error:
        return recording.id, None, f"{type(error).__name__}: {error}"


def _write_lines(path: Path, rows: Sequence[Row]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_whole(path, text, errors=JSON_ERRORS)
