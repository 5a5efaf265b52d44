"""Label every recording of a manifest: in parallel, and resumable at any moment."""

import contextlib
import hashlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from urgentmos.data.manifest import Recording, read_manifest, write_manifest
from urgentmos.extras import MissingExtraError
from urgentmos.labels.catalogue import LABELLERS, Precision, resolve_labels
from urgentmos.labels.part_file import PartFile
from urgentmos.labels.summary import LabelSummary, summarise, write_summary
from urgentmos.labels.worker import Outcome, Task, failed, label_chunk, start_worker

_CHUNK = 16
# One thread per process: two tools with two threads each on two cores are slower than one each.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ShareError(ValueError):
    """A share is outside 0 to 1, or belongs to no wanted label."""


def label_manifest(
    manifest: str | Path,
    output: str | Path,
    *,
    labels: Sequence[str],
    workers: int = 1,
    shares: Mapping[str, float] | None = None,
    precision: Precision = "float32",
    where: Callable[[Recording], bool] | None = None,
    progress: bool = True,
) -> LabelSummary:
    """Add labels to the recordings of a manifest.

    Labels that the manifest already holds are kept. Finished recordings go to
    ``OUTPUT.part.jsonl`` at once; the same call after a kill goes on from there and tries again
    what had failed. At the end ``output`` holds every recording in input order, with the reason
    for each missing label in ``meta.label_errors``, and ``OUTPUT.labels.json`` the tools.

    Args:
        manifest: Recordings; intrusive labels read ``meta.reference_path``.
        output: Manifest to write; it must not exist yet.
        labels: Names of `LABELLERS`, or of metrics they give.
        workers: Processes of one thread each; 0 labels in this process.
        shares: Share of the recordings, 0 to 1, that gets a label; all of them where unnamed. Which
            ones depends on their uid alone, and a larger share contains a smaller one.
        precision: Arithmetic of Distill-MOS.
        where: Which recordings to label; the others are passed on as they are.
        progress: Show a bar on standard error.

    Returns:
        Counts, reasons and tool versions.

    Raises:
        UnknownLabelError: No tool gives one of the labels.
        ShareError: A share is outside 0 to 1, or belongs to no wanted label.
        FileExistsError: The output is already there.
        ManifestError: The manifest breaks its format.
        MissingExtraError: A tool, or its network, is not on this machine.
        PartFileError: The part file comes from other tool versions.
    """
    manifest, output = Path(manifest), Path(output)
    names = resolve_labels(labels)
    share_by_label = _check_shares(shares or {}, names)
    if output.exists():
        raise FileExistsError(
            f"{output} exists; label it in its turn (what it holds is kept), or name another output"
        )
    tools = {name: _version(name, precision) for name in names}
    recordings = read_manifest(manifest)
    chosen = [recording for recording in recordings if where is None or where(recording)]
    part_path = output.with_name(output.name + ".part.jsonl")
    with PartFile(part_path, tools=tools) as part:
        tasks = _plan(chosen, names, share_by_label, part.outcomes)
        outcomes = _label(tasks, workers=workers, precision=precision)
        for outcome in tqdm(
            outcomes,
            total=len(chosen),
            initial=len(chosen) - len(tasks),
            unit="file",
            mininterval=1.0,
            disable=not progress,
        ):
            part.append(outcome)
    for recording in recordings:
        if recording.uid in part.outcomes:
            _apply(recording, part.outcomes[recording.uid])
    metrics = dict.fromkeys(metric for name in names for metric in LABELLERS[name].metrics)
    summary = summarise(recordings, metrics=list(metrics), tools=tools)
    write_summary(_summary_path(output), summary, earlier=_summary_path(manifest))
    unfinished = output.with_name(output.name + ".unfinished")
    write_manifest(unfinished, recordings)
    os.replace(unfinished, output)
    part_path.unlink()
    return summary


def in_share(uid: str, share: float) -> bool:
    """Decide by a hash of its uid whether a recording belongs to a share of all recordings."""
    digest = hashlib.sha256(uid.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _check_shares(shares: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    checked: dict[str, float] = {}
    for label, share in shares.items():
        (name,) = resolve_labels([label])
        if name not in names:
            raise ShareError(f"a share is given for {label!r}, which is not among the labels")
        if not 0.0 <= share <= 1.0:
            raise ShareError(f"share of {label!r}: expected 0 to 1, got {share}")
        checked[name] = share
    return checked


def _version(label: str, precision: Precision) -> str:
    tool = LABELLERS[label]
    version = tool.build(precision).version
    if not tool.installed:
        missing = ", ".join(tool.modules)
        raise MissingExtraError(
            f"label {label!r} needs {missing}; install with: pip install '{tool.install}'"
        )
    return version


def _plan(
    recordings: Sequence[Recording],
    names: Sequence[str],
    shares: Mapping[str, float],
    known: Mapping[str, Outcome],
) -> list[Task]:
    tasks = []
    for recording in recordings:
        have = set(recording.metrics)
        if recording.uid in known:
            have |= set(known[recording.uid].metrics)
        todo = tuple(
            name
            for name in names
            if not have.issuperset(LABELLERS[name].metrics)
            and in_share(recording.uid, shares.get(name, 1.0))
        )
        if todo:
            reference = recording.meta.get("reference_path")
            tasks.append(Task(recording.uid, str(recording.audio_path), reference, todo))
    return tasks


def _label(tasks: Sequence[Task], *, workers: int, precision: Precision) -> Iterator[Outcome]:
    if workers == 0:
        for task in tasks:
            yield from label_chunk([task], precision)
        return
    size = max(1, min(_CHUNK, len(tasks) // (4 * workers)))
    waiting = deque(tasks[start : start + size] for start in range(0, len(tasks), size))
    while waiting:
        running: dict[Future[list[Outcome]], Sequence[Task]] = {}
        try:
            with _pool(workers) as pool:
                while waiting or running:
                    while waiting and len(running) < 2 * workers:
                        chunk = waiting.popleft()
                        running[pool.submit(label_chunk, chunk, precision)] = chunk
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        outcomes = future.result()
                        del running[future]
                        yield from outcomes
        except BrokenProcessPool:
            # Native code in a tool crashed. Nobody knows on which recording: those that were being
            # labelled go through a process one at a time.
            suspects = [task for chunk in running.values() for task in chunk]
            yield from _label_apart(suspects, precision)


def _label_apart(tasks: Sequence[Task], precision: Precision) -> Iterator[Outcome]:
    waiting = deque(tasks)
    while waiting:
        yield from _label_until_crash(waiting, precision)
        if waiting:
            yield failed(waiting.popleft(), "the labelling process died on this recording")


def _label_until_crash(waiting: deque[Task], precision: Precision) -> Iterator[Outcome]:
    with contextlib.suppress(BrokenProcessPool), _pool(1) as pool:
        while waiting:
            (outcome,) = pool.submit(label_chunk, [waiting[0]], precision).result()
            waiting.popleft()
            yield outcome


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned, not forked: a forked child of a process with torch threads can hang.
    context = multiprocessing.get_context("spawn")
    with _environment(_ONE_THREAD):
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _apply(recording: Recording, outcome: Outcome) -> None:
    recording.metrics.update(outcome.metrics)
    errors = {**recording.meta.get("label_errors", {}), **outcome.errors}
    errors = {name: why for name, why in errors.items() if name not in recording.metrics}
    recording.meta.pop("label_errors", None)
    if errors:
        recording.meta["label_errors"] = errors


def _summary_path(manifest: Path) -> Path:
    return manifest.with_name(manifest.name + ".labels.json")
