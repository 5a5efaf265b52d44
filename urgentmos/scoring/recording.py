"""Recordings decoded ahead of the model, in threads, in order."""

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from urgentmos.audio import AudioError, AudioReader
from urgentmos.scoring.windows import SHORT_S, Window, cut_windows

# Recordings in flight, and windows decoded of each before its turn comes: together they bound the
# memory. Of a longer recording the rest is decoded when it is needed.
_NUM_AHEAD, _WINDOWS_AHEAD = 32, 2


class Recording:
    """A file being decoded.

    Everything but ``path`` is final once ``windows`` is used up.

    Args:
        path: The file.
        sample_rate: Rate in Hz at which windows are wanted.

    Attributes:
        path: The file.
        windows: Its windows, to be run through once; they end early when an error is met.
        error: Why it cannot be scored; empty when it can.
        duration_s: Seconds decoded; None when it could not be opened.
        sample_rate: Rate of the file in Hz; None when it could not be opened.
        channels: Channels of the file; None when it could not be opened.
        flags: ``AudioReader.flags``, and ``short``.
    """

    def __init__(self, path: str | os.PathLike[str], *, sample_rate: int) -> None:
        self.path = os.fspath(path)
        self.error = ""
        self.duration_s: float | None = None
        self.sample_rate: int | None = None
        self.channels: int | None = None
        self.flags: tuple[str, ...] = ()
        self._wanted_rate = sample_rate
        self.windows: Iterator[Window] = self._decode()

    def again(self) -> "Recording":
        """Open the same file anew, with all its windows."""
        return Recording(self.path, sample_rate=self._wanted_rate)

    def decode_ahead(self) -> "Recording":
        """Decode the first windows now."""
        self.windows = itertools.chain(
            list(itertools.islice(self.windows, _WINDOWS_AHEAD)), self.windows
        )
        return self

    def _decode(self) -> Iterator[Window]:
        rate = self._wanted_rate
        try:
            with AudioReader(self.path, sample_rate=rate) as reader:
                self.sample_rate, self.channels = reader.sample_rate, reader.channels
                try:
                    yield from cut_windows(reader.blocks(), sample_rate=rate)
                finally:
                    self.duration_s = reader.duration_s
                    short = ("short",) if reader.duration_s < SHORT_S else ()
                    self.flags = reader.flags + short
        except AudioError as error:
            self.error = str(error)


def decode_recordings(
    paths: Iterable[str | os.PathLike[str]], *, sample_rate: int, workers: int
) -> Iterator[Recording]:
    """Open and decode recordings ahead of their use, in order.

    Args:
        paths: Files.
        sample_rate: Rate in Hz at which windows are wanted.
        workers: Threads that decode; 0 decodes in the caller's, when a recording is asked for.
    """
    recordings = (Recording(path, sample_rate=sample_rate) for path in paths)
    if workers == 0:
        yield from recordings
        return
    executor = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    ahead: deque[Future[Recording]] = deque()
    try:
        for recording in recordings:
            ahead.append(executor.submit(recording.decode_ahead))
            if len(ahead) >= _NUM_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
