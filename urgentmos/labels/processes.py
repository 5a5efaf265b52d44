"""Worker processes that share the recordings of a labelling job."""

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from urgentmos.labels.worker import Outcome, Task, failed, label_chunk, start_worker
from urgentmos.precision import Precision

_CHUNK = 16
# One thread per process: two tools with two threads each on two cores are slower than one each.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def label_tasks(tasks: Sequence[Task], *, workers: int, precision: Precision) -> Iterator[Outcome]:
    """Label recordings in worker processes, and survive the crash of one.

    Args:
        tasks: Recordings and the labels wanted of each.
        workers: Processes of one thread each; 0 works in this one.
        precision: Arithmetic of Distill-MOS.

    Yields:
        One outcome per task, as they come. A recording on which a process died has that as its
        reason.
    """
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
                        # Taken once it runs: a pool that broke meanwhile refuses it.
                        running[pool.submit(label_chunk, waiting[0], precision)] = waiting[0]
                        waiting.popleft()
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
    others = set(multiprocessing.active_children())
    with _environment(_ONE_THREAD):
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
            # Interrupted while it started one, the pool does not end it: Python would wait for it.
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
                process.join()


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
