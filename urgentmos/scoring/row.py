"""One row per recording: what came in, what was made of it, its scores or why there are none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Value = str | int | float | None

ROW_COLUMNS: dict[str, type] = {
    "path": str,
    "status": str,
    "error": str,
    "duration_s": float,
    "sample_rate": int,
    "channels": int,
    "flags": str,
    "model": str,
}
"""Columns in front of the metrics, with the type of their values."""

# Far below what a score means, and it keeps tables readable.
_DECIMALS = 5


@dataclass(frozen=True)
class WindowScores:
    """Scores of one stretch of a recording.

    Attributes:
        start_s: Where it starts.
        end_s: Where it ends.
        scores: Score by metric.
    """

    start_s: float
    end_s: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Row:
    """The result for one recording.

    Attributes:
        path: As it was given or found.
        status: ``ok`` or ``failed``.
        error: Why it failed; empty when it did not.
        duration_s: Seconds of audio decoded; None when it was not read to its end.
        sample_rate: Rate of the file in Hz; None when it could not be opened.
        channels: Channels of the file; None when it could not be opened.
        flags: ``AudioReader.flags``; ``edge_silence`` when 0.1 s or more of digital silence at the
            edges was left out; ``short`` when less than a second remained, which
            the shipped models repeat to fill a second.
        model: Content hash of the model and version of this package, ``hash+version``.
        scores: Score by metric in the metric's unit; empty when it failed.
        timeline: Scores of each window, in order.
    """

    path: str
    status: Literal["ok", "failed"]
    error: str
    duration_s: float | None
    sample_rate: int | None
    channels: int | None
    flags: tuple[str, ...]
    model: str
    scores: dict[str, float] = field(default_factory=dict)
    timeline: tuple[WindowScores, ...] = ()

    def to_record(self, metrics: Sequence[str]) -> dict[str, Value]:
        """Flatten to one value per column: ``ROW_COLUMNS``, then the metrics."""
        record: dict[str, Value] = {
            "path": self.path,
            "status": self.status,
            "error": self.error,
            "duration_s": None if self.duration_s is None else round(self.duration_s, _DECIMALS),
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "flags": " ".join(self.flags),
            "model": self.model,
        }
        return record | _rounded(self.scores, metrics)

    def timeline_records(self, metrics: Sequence[str]) -> list[dict[str, Value]]:
        """Flatten the timeline: path, start and end in seconds, then the metrics."""
        records: list[dict[str, Value]] = []
        for window in self.timeline:
            times: dict[str, Value] = {
                "start_s": round(window.start_s, _DECIMALS),
                "end_s": round(window.end_s, _DECIMALS),
            }
            records.append({"path": self.path} | times | _rounded(window.scores, metrics))
        return records


def row_columns(metrics: Sequence[str]) -> dict[str, type]:
    """Columns of a row file with these metrics."""
    return ROW_COLUMNS | dict.fromkeys(metrics, float)


def timeline_columns(metrics: Sequence[str]) -> dict[str, type]:
    """Columns of a timeline file with these metrics."""
    return {"path": str, "start_s": float, "end_s": float} | dict.fromkeys(metrics, float)


def _rounded(scores: dict[str, float], metrics: Sequence[str]) -> dict[str, Value]:
    return {
        metric: round(scores[metric], _DECIMALS) if metric in scores else None for metric in metrics
    }
