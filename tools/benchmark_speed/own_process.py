"""Measurements in a fresh process, held to some CPU cores, with its memory."""

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def run_alone(function: Callable[..., dict[str, Any]], *, threads: int, **arguments: Any) -> Any:
    """Call a function in a process of its own.

    Args:
        function: Defined at the top of a module; gives plain data.
        threads: CPU cores the process is held to.
        arguments: For the function.

    Returns:
        What it gives, or ``{"error": ...}`` where a package is missing or the process died.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(function, threads, arguments, sender))
    # Read by numerical libraries when they are loaded, hence before the process starts.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    process.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        result = {"error": "its process died"}
    process.join()
    return result


def _call(
    function: Callable[..., dict[str, Any]],
    threads: int,
    arguments: dict[str, Any],
    sender: Connection,
) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    warnings.simplefilter("ignore")
    try:
        sender.send(function(**arguments))
    except ImportError as error:
        sender.send({"error": str(error)})


def quickest(call: Callable[[], object], *, repeats: int) -> tuple[float, float]:
    """Call a few times and give the seconds and the CPU seconds of the quickest call."""
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(times)


def resident_mib() -> float:
    """Memory that this process has now, in MiB."""
    return _status("VmRSS")


def peak_mib() -> float:
    """Most memory that this process had since ``forget_peak``, in MiB."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak begin with what this process has now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}: this tool needs Linux")
