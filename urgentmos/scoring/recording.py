"""Recordings decoded ahead of the model, in threads, in order."""

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from urgentmos.audio import AudioError, AudioReader
from urgentmos.scoring.windows import Window, cut_windows

SHORT_S = 1.0
"""Shorter recordings are flagged: models hear them repeated (``ModelConfig.shortest_s``)."""

# Recordings in flight, and windows decoded of each before its turn comes: together they bound the
# memory. Of a longer recording the rest is decoded when it is needed.
_NUM_AHEAD, _WINDOWS_AHEAD = 32, 2


class Recording:
    """A file, and what is learned about it while its windows are run through.

    Args:
        path: The file.

    Attributes:
        path: The file.
        error: Why it cannot be scored; empty when it can.
        duration_s: Seconds decoded; None when it could not be opened.
        sample_rate: Rate of the file in Hz; None when it could not be opened.
        channels: Channels of the file; None when it could not be opened.
        flags: ``AudioReader.flags``, and ``short``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.error = ""
        self.duration_s: float | None = None
        self.sample_rate: int | None = None
        self.channels: int | None = None
        self.flags: tuple[str, ...] = ()

    def windows(self, *, sample_rate: int) -> Iterator[Window]:
        """Decode the file; an error ends the windows early and is kept in ``error``.

        Args:
            sample_rate: Rate in Hz at which windows are wanted.
        """
        try:
            with AudioReader(self.path, sample_rate=sample_rate) as reader:
                self.sample_rate, self.channels = reader.sample_rate, reader.channels
                try:
                    yield from cut_windows(reader.blocks(), sample_rate=sample_rate)
                finally:
                    self.duration_s = reader.duration_s
                    short = ("short",) if reader.duration_s < SHORT_S else ()
                    self.flags = reader.flags + short
        except AudioError as error:
            self.error = str(error)


Decoded = tuple[Recording, Iterator[Window]]


def decode_recordings(
    paths: Iterable[str | os.PathLike[str]], *, sample_rate: int, workers: int
) -> Iterator[Decoded]:
    """Open and decode recordings ahead of their use, in order.

    Args:
        paths: Files.
        sample_rate: Rate in Hz at which windows are wanted.
        workers: Threads that decode; 0 decodes in the caller's, when windows are asked for.

    Returns:
        Each recording with its windows; what is known of it is final when they are used up.
    """
    recordings = map(Recording, paths)
    if workers == 0:
        for recording in recordings:
            yield recording, recording.windows(sample_rate=sample_rate)
        return
    executor = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    ahead: deque[Future[Decoded]] = deque()
    try:
        for recording in recordings:
            ahead.append(executor.submit(_decode_ahead, recording, sample_rate))
            if len(ahead) >= _NUM_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _decode_ahead(recording: Recording, sample_rate: int) -> Decoded:
    windows = recording.windows(sample_rate=sample_rate)
    first = list(itertools.islice(windows, _WINDOWS_AHEAD))
    return recording, itertools.chain(first, windows)
