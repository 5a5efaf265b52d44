"""Recordings as a simulation makes them: read while it is running, kept on a device.

``Follower`` reads what ``urgentmos simulate`` has finished, in processes of its own, and computes
the labels that only a processor can (PESQ and PESQc2). ``Pool`` keeps waveforms and references on
the device, and says which were heard already.
"""

import contextlib
import itertools
import json
import multiprocessing
import queue
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from pseudo_mos import keeps_phase
from torch import Tensor

from urgentmos.audio import SAMPLE_RATE
from urgentmos.labels.labeller import LabelError
from urgentmos.labels.pesq import Pesq
from urgentmos.ndarray import NDArray

ROWS = "rows.part.jsonl"
MAX_SAMPLES = round(5.44 * SAMPLE_RATE)
MIN_SAMPLES = 2 * SAMPLE_RATE
_PAUSE_S = 0.5
_MOMENT_S = 0.005
_FULL_SCALE = 32768
_LINES = 200  # of one simulation, before the next has its turn


class Arrival(NamedTuple):
    """One simulated recording; reference is None, and PESQ NaN, where there is none."""

    waveform: NDArray[np.int16]
    reference: NDArray[np.int16] | None
    pesq: float
    pesqc2: float
    keeps_phase: bool


class Follower:
    """Read simulations that are still running.

    Args:
        folders: Output folders of ``urgentmos simulate``; they need not be there yet.
        processes: Processes that read.
        pesq_share: Share of the recordings with a reference that get PESQ and PESQc2.
    """

    def __init__(self, folders: Sequence[Path], *, processes: int, pesq_share: float) -> None:
        context = multiprocessing.get_context("fork")
        self._queue: Any = context.Queue(maxsize=2000)
        self._processes = [
            context.Process(
                target=_follow,
                args=(list(folders), number, processes, pesq_share, self._queue),
                daemon=True,
            )
            for number in range(processes)
        ]
        for process in self._processes:
            process.start()

    def take(self, at_most: int) -> list[Arrival]:
        """Give what has arrived.

        A recording does not fit into the pipe that it comes through, so that the next one is there
        a moment after the last was taken.

        Raises:
            RuntimeError: A process that reads has ended; what ended it is on stderr.
        """
        ended = [process.exitcode for process in self._processes if process.exitcode is not None]
        if ended:
            raise RuntimeError(f"a process that reads recordings ended with status {ended[0]}")
        arrived: list[Arrival] = []
        with contextlib.suppress(queue.Empty):
            while len(arrived) < at_most:
                arrived.append(self._queue.get(timeout=_MOMENT_S))
        return arrived

    def close(self) -> None:
        """Stop reading."""
        for process in self._processes:
            process.terminate()


def _follow(
    folders: list[Path], number: int, processes: int, pesq_share: float, arrivals: Any
) -> None:
    rng = np.random.default_rng(number)
    labellers = {name: Pesq(package=name) for name in ("pesq", "pesqc2")} if pesq_share else {}
    read = dict.fromkeys(folders, 0)
    while True:
        found = 0
        for folder in folders:
            lines = _new_lines(folder / ROWS, read[folder])
            read[folder] += sum(map(len, lines))
            found += len(lines)
            for row in map(json.loads, lines):
                # By its number, so that each recording is read by one process.
                if int(row["meta"]["id"][:-1]) % processes != number:
                    continue
                with_pesq = rng.uniform() < pesq_share
                arrival = _arrival(folder, row, labellers if with_pesq else {})
                if arrival is not None:
                    arrivals.put(arrival)
        if not found:
            time.sleep(_PAUSE_S)


def _new_lines(path: Path, begin: int) -> list[bytes]:
    """Give the next lines of a file that were written to their end."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(begin)
        lines = list(itertools.islice(file, _LINES))
    return [line for line in lines if line.endswith(b"\n")]


def _arrival(folder: Path, row: dict[str, Any], labellers: dict[str, Pesq]) -> Arrival | None:
    meta = row["meta"]
    if meta["split"] != "train":
        return None
    waveform = _read(folder / row["audio_path"])
    if len(waveform) < MIN_SAMPLES or not waveform.any():
        return None
    reference, values = None, {"pesq": np.nan, "pesqc2": np.nan}
    if meta["reference_path"]:
        reference = _read(folder / meta["reference_path"])
        if len(reference) != len(waveform) or not reference.any():
            return None
        values |= _pesq(waveform, reference, labellers)
    return Arrival(waveform, reference, values["pesq"], values["pesqc2"], keeps_phase(meta))


def _pesq(
    waveform: NDArray[np.int16], reference: NDArray[np.int16], labellers: dict[str, Pesq]
) -> dict[str, float]:
    heard, clean = (part / np.float32(_FULL_SCALE) for part in (waveform, reference))
    try:
        return {name: labeller.label(heard, clean)[name] for name, labeller in labellers.items()}
    except LabelError:
        return {}


def _read(path: Path) -> NDArray[np.int16]:
    samples, _ = soundfile.read(path, dtype="int16")
    return np.asarray(samples[:MAX_SAMPLES], dtype=np.int16)


class Drawn(NamedTuple):
    """Recordings of one length, and what is known of them.

    Attributes:
        waveform: Recordings, ±1.
        reference: Their references; a row of zeros is none.
        pesq: PESQ of each; NaN where it is not known.
        pesqc2: PESQc2.
        keeps_phase: Whether the recording is its reference plus damage, sample by sample.
    """

    waveform: Tensor
    reference: Tensor
    pesq: Tensor
    pesqc2: Tensor
    keeps_phase: Tensor


class Pool:
    """Waveforms and references on a device.

    Args:
        capacity: Recordings that are kept; the oldest give way.
        device: Where they are kept.
        seed: Of what is drawn.
    """

    def __init__(self, capacity: int, *, device: torch.device, seed: int) -> None:
        size = (capacity, MAX_SAMPLES)
        self._waveform = torch.zeros(size, dtype=torch.int16, device=device)
        self._reference = torch.zeros(size, dtype=torch.int16, device=device)
        self._known = torch.full((capacity, 3), torch.nan, device=device)
        self._lengths = np.zeros(capacity, dtype=np.int64)
        self._heard = np.zeros(capacity, dtype=np.int64)
        self._device = device
        self._rng = np.random.default_rng(seed)
        self.arrived = 0

    def __len__(self) -> int:
        """Count the recordings kept."""
        return min(self.arrived, len(self._lengths))

    @property
    def num_unheard(self) -> int:
        """Count those that were not drawn as they are."""
        return int((self._heard[: len(self)] == 0).sum())

    def add(self, arrivals: Sequence[Arrival]) -> None:
        """Keep recordings."""
        if not arrivals:
            return
        slots = (self.arrived + np.arange(len(arrivals))) % len(self._lengths)
        self.arrived += len(arrivals)
        waveform = np.zeros((len(arrivals), MAX_SAMPLES), dtype=np.int16)
        reference = np.zeros_like(waveform)
        known = np.zeros((len(arrivals), 3), dtype=np.float32)
        for row, arrival in enumerate(arrivals):
            waveform[row, : len(arrival.waveform)] = arrival.waveform
            if arrival.reference is not None:
                reference[row, : len(arrival.reference)] = arrival.reference
            known[row] = arrival.pesq, arrival.pesqc2, arrival.keeps_phase
            self._lengths[slots[row]] = len(arrival.waveform)
        self._heard[slots] = 0
        places = torch.from_numpy(slots).to(self._device)
        self._waveform[places] = torch.from_numpy(waveform).to(self._device)
        self._reference[places] = torch.from_numpy(reference).to(self._device)
        self._known[places] = torch.from_numpy(known).to(self._device)

    def draw_samples(self) -> int:
        """Draw a length that some recordings have, the unheard ones first."""
        lengths, heard = self._lengths[: len(self)], self._heard[: len(self)]
        unheard = np.flatnonzero(heard == heard.min())
        return int(lengths[self._rng.choice(unheard)]) // 320 * 320

    def draw(self, count: int, *, samples: int, as_they_are: bool) -> Drawn:
        """Draw recordings and cut them to a length.

        Args:
            count: Most recordings.
            samples: Length of all of them.
            as_they_are: Of about this length, the least heard first, with their PESQ; else any that
                are long enough.
        """
        lengths, heard = self._lengths[: len(self)], self._heard[: len(self)]
        longest = samples / 0.93 if as_they_are else np.inf
        fitting = np.flatnonzero((lengths >= samples) & (lengths <= longest))
        if as_they_are:
            order = heard[fitting] + self._rng.uniform(size=len(fitting))
            chosen = fitting[np.argsort(order)[:count]]
            self._heard[chosen] += 1
        else:
            chosen = self._rng.choice(fitting, size=min(count, len(fitting)), replace=False)
        start = self._rng.integers(lengths[chosen] - samples + 1)
        rows = torch.from_numpy(chosen).to(self._device)
        places = torch.from_numpy(start).to(self._device)[:, None] + torch.arange(
            samples, device=self._device
        )
        known = self._known[rows]
        if not as_they_are:
            known[:, :2] = torch.nan
        return Drawn(
            self._waveform[rows].gather(1, places) / _FULL_SCALE,
            self._reference[rows].gather(1, places) / _FULL_SCALE,
            known[:, 0],
            known[:, 1],
            known[:, 2] > 0,
        )
