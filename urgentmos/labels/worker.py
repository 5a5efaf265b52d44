"""What one process does: read a recording and its reference, and label it."""

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

import torch

from urgentmos.audio import Audio, AudioError, read_audio
from urgentmos.data.file_key import file_key
from urgentmos.labels.catalogue import LABELLERS
from urgentmos.labels.labeller import NO_REFERENCE, SAMPLE_RATE, LabelError, Labeller, cut_alike
from urgentmos.labels.pesq import NARROW_BAND_RATE, narrow_band_pesq
from urgentmos.precision import Precision

# What third-party tools raise on recordings they were not written for. A missing package or network
# (ImportError) is not among them: it ends the job.
_TOOL_FAILURES = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Task:
    """One recording, the labels wanted of it, and the state of its files (``inputs``)."""

    uid: str
    audio_path: str
    reference_path: str | None
    labels: tuple[str, ...]
    inputs: str


@dataclass(frozen=True)
class Outcome:
    """Labels of one recording, and the reason for each that is missing, by metric.

    ``inputs`` are those of its task; lines of part files from before there were any have none.
    """

    uid: str
    metrics: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    inputs: str = ""


def start_worker() -> None:
    """Prepare a process: one thread, and no life beyond its parent's."""
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def label_chunk(tasks: Sequence[Task], precision: Precision) -> list[Outcome]:
    """Label several recordings.

    Raises:
        MissingExtraError: A tool, or its network, is not on this machine.
    """
    return [label_task(task, precision) for task in tasks]


def label_task(task: Task, precision: Precision) -> Outcome:
    """Label one recording with every tool its task names."""
    outcome = Outcome(task.uid, inputs=task.inputs)
    try:
        audio = _read(task.audio_path)
    except AudioError as error:
        return failed(task, str(error))
    reference, complaint = _read_reference(task)
    for label in task.labels:
        tool = LABELLERS[label]
        try:
            if tool.needs_reference and complaint:
                raise LabelError(complaint)
            values = _compute(label, audio, reference, task, precision)
            outcome.metrics.update({name: _finite(value) for name, value in values.items()})
        except LabelError as error:
            outcome.errors.update(dict.fromkeys(tool.metrics, str(error)))
        except _TOOL_FAILURES as error:
            reason = f"{label} failed: {type(error).__name__}: {error}"
            outcome.errors.update(dict.fromkeys(tool.metrics, reason))
    return outcome


def failed(task: Task, reason: str) -> Outcome:
    """Give every label of a task the same reason for being missing."""
    metrics = [metric for label in task.labels for metric in LABELLERS[label].metrics]
    return Outcome(task.uid, errors=dict.fromkeys(metrics, reason), inputs=task.inputs)


def _compute(
    label: str, audio: Audio, reference: Audio | None, task: Task, precision: Precision
) -> dict[str, float]:
    tool = LABELLERS[label]
    if not tool.needs_reference:
        return _labeller(label, precision).label(audio.waveform, None)
    if reference is None:
        raise LabelError(NO_REFERENCE)
    if not tool.aligned:
        return _labeller(label, precision).label(audio.waveform, reference.waveform)
    rates = {audio.sample_rate, reference.sample_rate}
    if label == "pesq" and rates == {NARROW_BAND_RATE}:
        pair = (read_audio(path, sample_rate=NARROW_BAND_RATE).waveform for path in _paths(task))
        return {"pesq": narrow_band_pesq(*cut_alike(*pair, sample_rate=NARROW_BAND_RATE))}
    pair_at_16k = cut_alike(audio.waveform, reference.waveform, sample_rate=SAMPLE_RATE)
    return _labeller(label, precision).label(*pair_at_16k)


def _paths(task: Task) -> tuple[str, str]:
    return task.audio_path, task.reference_path or ""


def _read_reference(task: Task) -> tuple[Audio | None, str]:
    if task.reference_path is None:
        return None, NO_REFERENCE
    if not any(LABELLERS[label].needs_reference for label in task.labels):
        return None, ""
    try:
        return _read(task.reference_path), ""
    except AudioError as error:
        return None, f"reference: {error}"


def file_state(path: str) -> str:
    """Name a file and its state, or that it has none that can be read."""
    try:
        return file_key(Path(path))
    except (OSError, ValueError):  # ValueError: no file can have this name
        return f"{path} unreadable"


def _read(path: str) -> Audio:
    return _read_state(path, file_state(path))


# Recordings of one reference usually follow each other. A later run in this process may find
# another file by the name.
@lru_cache(maxsize=8)
def _read_state(path: str, state: str) -> Audio:
    return read_audio(path, sample_rate=SAMPLE_RATE)


# One tool of each kind per process: some load a network.
@cache
def _labeller(label: str, precision: Precision) -> Labeller:
    return LABELLERS[label].build(precision)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise LabelError(f"the tool gave {value}")
    return value


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A killed parent cannot tell its workers; they would wait for work for ever.
        parent.join()
        os._exit(1)
