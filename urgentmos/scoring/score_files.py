"""Files to rows, in order, in memory that does not grow with their number or length."""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from urgentmos.audio_folders import find_audio
from urgentmos.metrics import check_metrics
from urgentmos.model.assessor import Assessor
from urgentmos.scoring.inference import WindowScorer
from urgentmos.scoring.provenance import model_id
from urgentmos.scoring.recording import Decoded, Recording, check_workers, decode_recordings
from urgentmos.scoring.row import Row, WindowScores
from urgentmos.windows import Window, combine_scores

BATCH_SECONDS = {"cpu": 60.0, "cuda": 400.0}
"""Default bound on a batch, in padded seconds, by kind of device."""

# Windows are sorted by length among those that fill this many batches.
_BATCHES_AHEAD = 4
# Bound on recordings waiting for their row, for folders of files that cannot be read.
_MAX_WAITING = 1024


def score_files(
    assessor: Assessor,
    paths: Iterable[str | os.PathLike[str]],
    *,
    metrics: Sequence[str] | None = None,
    batch_seconds: float | None = None,
    workers: int = 2,
) -> Iterator[Row]:
    """Score recordings: one row each, in order, as they are done.

    A recording that cannot be read or scored gives a failed row with the reason. Batches, their
    order and the number of workers do not change a score by more than 1e-4 of its range.

    Args:
        assessor: Model.
        paths: Files, each with a row however often it is named, and folders, see ``find_audio``.
        metrics: Metrics to give; all that the model predicts when None.
        batch_seconds: Bound on a batch in padded seconds; ``BATCH_SECONDS`` when None.
        workers: Threads that decode ahead of the model.

    Raises:
        UnknownMetricError: The model does not predict one of the metrics.
        AudioError: A folder holds no audio.
        TypeError: ``workers`` is no whole number.
        ValueError: A bound is out of range.
    """
    if batch_seconds is None:
        batch_seconds = BATCH_SECONDS.get(assessor.device.type, BATCH_SECONDS["cuda"])
    if not 0 < batch_seconds < math.inf:
        raise ValueError(f"batch_seconds must be above 0 and finite, got {batch_seconds}")
    check_workers(workers)
    names = check_metrics(assessor.metrics if metrics is None else metrics, assessor.metrics)
    scorer = WindowScorer(assessor, names, batch_seconds=batch_seconds)
    decoded = decode_recordings(_listed(paths), sample_rate=assessor.sample_rate, workers=workers)
    pool = _Pool(scorer, model=model_id(assessor), max_seconds=_BATCHES_AHEAD * batch_seconds)
    return _rows(decoded, pool)


def _listed(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[str | os.PathLike[str]]:
    """List the files of the rows: by the names that were given, and what was found in folders."""
    listed: list[str | os.PathLike[str]] = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        listed += find_audio(path) if os.path.isdir(path) else [path]
    return listed


def _rows(decoded: Iterator[Decoded], pool: "_Pool") -> Iterator[Row]:
    for recording, windows in decoded:
        pool.start(recording)
        for window in windows:
            pool.add(window)
            if pool.is_full:
                yield from pool.score()
        pool.end()
        if pool.is_full:
            yield from pool.score()
    yield from pool.score()


class _Scored:
    """A recording and what is known of it so far."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.is_decoded = False
        self.weights_s: list[float] = []
        self.timeline: list[WindowScores] = []
        self.error = ""

    def add(self, window: Window, result: dict[str, float] | str) -> None:
        if isinstance(result, str):
            self.error = self.error or result
            return
        self.weights_s.append(window.weight_s)
        self.timeline.append(WindowScores(window.start_s, window.end_s, result))

    def row(self, model: str) -> Row:
        recording = self.recording
        error = recording.error or self.error
        return Row(
            path=recording.path,
            status="failed" if error else "ok",
            error=error,
            duration_s=recording.duration_s,
            sample_rate=recording.sample_rate,
            channels=recording.channels,
            flags=recording.flags,
            model=model,
            scores={}
            if error
            else combine_scores([window.scores for window in self.timeline], self.weights_s),
            timeline=() if error else tuple(self.timeline),
        )


class _Pool:
    """Windows waiting to be scored together, and recordings waiting for their row."""

    def __init__(self, scorer: WindowScorer, *, model: str, max_seconds: float) -> None:
        self._scorer = scorer
        self._model = model
        self._max_seconds = max_seconds
        self._seconds = 0.0
        self._windows: list[tuple[_Scored, Window]] = []
        self._waiting: deque[_Scored] = deque()

    @property
    def is_full(self) -> bool:
        return self._seconds >= self._max_seconds or len(self._waiting) >= _MAX_WAITING

    def start(self, recording: Recording) -> None:
        self._waiting.append(_Scored(recording))

    def add(self, window: Window) -> None:
        self._windows.append((self._waiting[-1], window))
        self._seconds += window.end_s - window.start_s

    def end(self) -> None:
        self._waiting[-1].is_decoded = True

    def score(self) -> Iterator[Row]:
        """Score what is waiting; the rows that are complete, in order."""
        windows, self._windows, self._seconds = self._windows, [], 0.0
        results = self._scorer.score([window for _, window in windows])
        for (scored, window), result in zip(windows, results, strict=True):
            scored.add(window, result)
        while self._waiting and self._waiting[0].is_decoded:
            yield self._waiting.popleft().row(self._model)
