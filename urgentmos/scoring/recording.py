"""Recordings decoded ahead of the model, in threads, in order."""

import dataclasses
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from numbers import Integral

from urgentmos.audio import AudioError, AudioReader
from urgentmos.silence import EdgeSilence
from urgentmos.windows import Window, cut_windows

SHORT_S = 1.0
"""Shorter recordings are flagged; the shipped models repeat them (``ModelConfig.shortest_s``)."""

LONG_SILENCE_S = 0.1
"""From here on, digital silence left out before the first sound and after the last is flagged."""

_OF_THE_FORMAT = ("multichannel", "resampled")

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
        duration_s: Seconds decoded; None when it could not be opened or read to its end.
        sample_rate: Rate of the file in Hz; None when it could not be opened.
        channels: Channels of the file; None when it could not be opened.
        flags: ``AudioReader.flags``; ``edge_silence``: at least 0.1 s of digital silence before
            the first sound and after the last was left out; ``short``: under a second remains.
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
                edges = EdgeSilence()
                try:
                    # Before resampling, which would let the first sound ring into the silence.
                    blocks = reader.blocks(cut=edges.drop)
                    for window in cut_windows(blocks, sample_rate=sample_rate):
                        yield _later(window, edges.num_before / reader.sample_rate)
                finally:
                    silence_s = (edges.num_before + edges.num_after) / reader.sample_rate
                    self._describe(reader, silence_s=silence_s)
        except AudioError as error:
            self.error = str(error)

    def _describe(self, reader: AudioReader, *, silence_s: float) -> None:
        if not reader.is_read:
            # Refused in the middle, as for NaN: what was not read may be long, loud and clipped.
            self.flags = tuple(flag for flag in reader.flags if flag in _OF_THE_FORMAT)
            return
        self.duration_s = reader.duration_s
        flags = {
            "edge_silence": silence_s >= LONG_SILENCE_S,
            "short": reader.duration_s - silence_s < SHORT_S,
        }
        self.flags = reader.flags + tuple(flag for flag in flags if flags[flag])


def _later(window: Window, seconds: float) -> Window:
    start_s, end_s = window.start_s + seconds, window.end_s + seconds
    return dataclasses.replace(window, start_s=start_s, end_s=end_s) if seconds else window


Decoded = tuple[Recording, Iterator[Window]]


def check_workers(workers: object) -> None:
    """Check that so many threads can decode.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is below 0.
    """
    # To Python, True is one.
    if isinstance(workers, bool) or not isinstance(workers, Integral):
        raise TypeError(f"expected workers as a whole number, 0 or more, got {workers!r}")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")


def decode_recordings(
    paths: Iterable[str | os.PathLike[str]], *, sample_rate: int, workers: int
) -> Iterator[Decoded]:
    """Open and decode recordings ahead of their use, in order.

    Args:
        paths: Files.
        sample_rate: Rate in Hz at which windows are wanted.
        workers: Threads that decode; 0 decodes in the caller's, when windows are asked for.

    Yields:
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
