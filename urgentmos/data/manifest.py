"""Manifests: recordings and pairs with their labels, in the public UrgentMOS JSON lines.

A recording is one line ``{"audio_path", "uid", "system_id", "reference_id", "duration", "metrics",
"meta"}``; a pair is one line ``{"audio_paths", "metrics", "durations"}``. Files use the public
metric names (``mos_overall``); in memory a metric has the name of `urgentmos.metrics` (``mos``).
"""

import csv
import difflib
import gzip
import io
import json
import math
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from urgentmos.metrics import METRICS, UnknownMetricError, get_metric

EXTRA_METRIC_PREFIXES = ("mos_", "sigmos_")
"""Public manifests carry further dimensions under these prefixes; they are kept, not predicted."""

_RECORDING_FIELDS = (
    "audio_path", "uid", "system_id", "reference_id", "duration", "metrics", "meta",
)  # fmt: skip
_PAIR_FIELDS = ("audio_paths", "metrics", "durations")
_CMOS = "mos_overall"
_MAX_FLOAT = sys.float_info.max
# What makes a name that is not Unicode a JSON escape.
_JSON_ESCAPES = "backslashreplace"
# Spreadsheets put a byte order mark in front.
_TABLE_ENCODING = "utf-8-sig"
# A line of a table is read in pieces: a few megabytes compressed can be gigabytes without a break.
_MAX_PIECE = 1 << 20


class ManifestError(ValueError):
    """A manifest or label table breaks its format; the message names file, line and field."""


@dataclass
class Recording:
    """One recording and what is known about it.

    Attributes:
        audio_path: The audio file.
        uid: Unique within a manifest; ``system:reference`` in the public ones.
        system_id: What made the recording: an enhancement system, a synthesiser, a condition.
        reference_id: What is said: equal for recordings of the same content.
        duration: Length (s).
        metrics: Label of each metric that has one; a missing label has no key.
        meta: Anything else. ``reference_path`` (the clean reference), ``corpus``, ``split``,
            ``family`` and ``strength`` have a meaning to pairs and training.
    """

    audio_path: Path
    uid: str
    system_id: str
    reference_id: str
    duration: float
    metrics: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two recordings and which of them listeners prefer.

    Attributes:
        a: First audio file.
        b: Second audio file.
        cmos: Comparison score, positive where A is better; +1, -1 and 0 where only the verdict is
            known.
        durations: Lengths of A and B (s).
    """

    a: Path
    b: Path
    cmos: float
    durations: tuple[float, float]


def read_manifest(
    path: str | Path, *, labels: str | Path | Sequence[str | Path] = ()
) -> list[Recording]:
    """Read recordings from JSON lines.

    Relative audio paths, and ``meta.reference_path``, resolve against the manifest's folder.

    Args:
        path: The manifest.
        labels: Label tables (CSV, or gzipped with ``.gz``) with a ``uid`` column and one column per
            metric. They are applied in order; a value there replaces an earlier one. Rows of
            recordings that are not in the manifest are ignored, so a part of a corpus can be read
            with the labels of all of it.

    Returns:
        Recordings in file order; labels that are NaN or null are missing.

    Raises:
        ManifestError: The format is broken; names file, line, field, what was expected and found.
    """
    path = Path(path)
    recordings: list[Recording] = []
    line_by_uid: dict[str, int] = {}
    for number, record in read_lines(path):
        where = f"{path}:{number}"
        recording = _parse_recording(record, folder=path.parent, where=where)
        if recording.uid in line_by_uid:
            first = line_by_uid[recording.uid]
            raise ManifestError(f"{where}: uid {recording.uid!r} is already used on line {first}")
        line_by_uid[recording.uid] = number
        recordings.append(recording)
    tables = [labels] if isinstance(labels, str | Path) else labels
    for table in tables:
        merge_labels(recordings, table)
    return recordings


def merge_labels(recordings: Sequence[Recording], path: str | Path) -> None:
    """Merge a label table onto recordings, in place; see `read_manifest`.

    Raises:
        ManifestError: The table breaks its format, or none of its uids is among the recordings.
    """
    labels = read_labels(path)
    matched = [recording for recording in recordings if recording.uid in labels]
    if labels and recordings and not matched:
        raise ManifestError(
            f"{path}: none of its uids is in the manifest; it has {next(iter(labels))!r}, "
            f"the manifest {recordings[0].uid!r}"
        )
    for recording in matched:
        recording.metrics.update(labels[recording.uid])


def write_manifest(path: str | Path, recordings: Iterable[Recording]) -> None:
    """Write recordings as JSON lines, with paths below the manifest's folder made relative."""
    path = Path(path)
    with path.open("w", encoding="utf-8", errors=_JSON_ESCAPES) as file:
        for recording in recordings:
            meta = dict(recording.meta)
            if meta.get("reference_path") is not None:
                meta["reference_path"] = _relative(meta["reference_path"], path.parent)
            record = {
                "audio_path": _relative(recording.audio_path, path.parent),
                "uid": recording.uid,
                "system_id": recording.system_id,
                "reference_id": recording.reference_id,
                "duration": recording.duration,
                "metrics": _public_metrics(recording.metrics),
                "meta": meta,
            }
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def read_pairs(path: str | Path) -> list[Pair]:
    """Read pairs from JSON lines; relative audio paths resolve against the file's folder.

    Raises:
        ManifestError: The format is broken, a pair has no CMOS, or it holds one file twice.
    """
    path = Path(path)
    return [
        _parse_pair(record, folder=path.parent, where=f"{path}:{number}")
        for number, record in read_lines(path)
    ]


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as JSON lines, with paths below the file's folder made relative."""
    path = Path(path)
    with path.open("w", encoding="utf-8", errors=_JSON_ESCAPES) as file:
        for pair in pairs:
            record = {
                "audio_paths": [_relative(member, path.parent) for member in (pair.a, pair.b)],
                "metrics": {_CMOS: pair.cmos},
                "durations": list(pair.durations),
            }
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def is_pair_manifest(path: str | Path) -> bool:
    """Tell a manifest of pairs from one of recordings by its first line."""
    try:
        _, first = next(read_lines(path), (0, {}))
    except ManifestError:
        # Whoever reads it says what is wrong with it.
        return False
    return "audio_paths" in first


def read_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read JSON lines; empty ones are passed over.

    Yields:
        The number of each line, from 1, and its object.

    Raises:
        ManifestError: A line is no JSON object.
    """
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                raise ManifestError(
                    f"{path}:{number}: not JSON: {error}; a manifest has one object per line"
                ) from error
            if not isinstance(record, dict):
                raise ManifestError(f"{path}:{number}: expected an object, got {_kind(record)}")
            yield number, record


def read_labels(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a label table.

    Args:
        path: CSV with a ``uid`` column and one column per metric; gzipped if it ends in ``.gz``.
            An empty cell or ``nan`` is a missing label.

    Returns:
        Labels by uid, then by metric.

    Raises:
        ManifestError: A column is no metric, a cell no number, a uid comes twice, or it is no text.
    """
    path = Path(path)
    try:
        return _parse_labels(path)
    except (csv.Error, gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not a label table: {error}") from error


def write_labels(path: str | Path, recordings: Iterable[Recording], *, decimals: int = 4) -> None:
    """Write the labels of recordings as a table that `read_manifest` merges back.

    Args:
        path: CSV to write; gzipped if it ends in ``.gz``. The bytes depend on the labels only.
        recordings: Recordings in the order of the rows.
        decimals: Digits kept after the point.
    """
    path = Path(path)
    rows = list(recordings)
    names = [name for name in METRICS if any(name in row.metrics for row in rows)]
    names += sorted({name for row in rows for name in row.metrics} - set(names))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["uid", *_public_metrics(dict.fromkeys(names, 0.0))])
    for row in rows:
        values = (row.metrics.get(name, math.nan) for name in names)
        cells = ("" if math.isnan(value) else f"{value:.{decimals}f}" for value in values)
        writer.writerow([row.uid, *cells])
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _parse_labels(path: Path) -> dict[str, dict[str, float]]:
    labels: dict[str, dict[str, float]] = {}
    with _open_text(path) as file:
        rows = csv.reader(iter(lambda: file.readline(_MAX_PIECE), ""))
        header = next(rows, [])
        if not header or header[0] != "uid":
            raise ManifestError(f"{path}:1: expected the first column to be 'uid', got {header}")
        metrics = [_metric_name(name, where=f"{path}:1") for name in header[1:]]
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if len(row) != len(header):
                raise ManifestError(f"{where}: expected {len(header)} cells, got {len(row)}")
            if row[0] in labels:
                raise ManifestError(f"{where}: uid {row[0]!r} comes twice")
            cells = zip(metrics, row[1:], strict=True)
            labels[row[0]] = {name: _cell(cell, name, where) for name, cell in cells if cell}
    return {uid: _without_missing(values) for uid, values in labels.items()}


def _open_text(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=_TABLE_ENCODING, newline="")
    return path.open(encoding=_TABLE_ENCODING, newline="")


def _parse_recording(record: dict[str, Any], *, folder: Path, where: str) -> Recording:
    _check_fields(record, known=_RECORDING_FIELDS, optional=("meta",), where=where)
    meta = record.get("meta") or {}
    if not isinstance(meta, dict):
        raise _wrong("meta", "an object", meta, where=where)
    if meta.get("reference_path") is not None:
        reference = _text(meta["reference_path"], "meta.reference_path", where)
        meta = {**meta, "reference_path": str(folder / reference)}
    return Recording(
        audio_path=folder / _text(record["audio_path"], "audio_path", where),
        uid=_text(record["uid"], "uid", where),
        system_id=_text(record["system_id"], "system_id", where),
        reference_id=_text(record["reference_id"], "reference_id", where),
        duration=_duration(record["duration"], "duration", where),
        metrics=_parse_metrics(record["metrics"], where=where),
        meta=meta,
    )


def _parse_pair(record: dict[str, Any], *, folder: Path, where: str) -> Pair:
    _check_fields(record, known=_PAIR_FIELDS, optional=(), where=where)
    for name in ("audio_paths", "durations"):
        if not isinstance(record[name], list) or len(record[name]) != 2:
            raise _wrong(name, "a list of two", record[name], where=where)
    a, b = (folder / _text(member, "audio_paths", where) for member in record["audio_paths"])
    if a == b:
        raise ManifestError(f"{where}: audio_paths: a recording is paired with itself: {a}")
    metrics = _parse_metrics(record["metrics"], where=where)
    if "mos" not in metrics:
        raise _wrong("metrics", f"a number for {_CMOS!r}", record["metrics"], where=where)
    first, second = (_duration(value, "durations", where) for value in record["durations"])
    return Pair(a=a, b=b, cmos=metrics["mos"], durations=(first, second))


def _parse_metrics(metrics: object, *, where: str) -> dict[str, float]:
    if not isinstance(metrics, dict):
        raise _wrong("metrics", "an object", metrics, where=where)
    values: dict[str, float] = {}
    for public_name, value in metrics.items():
        name = _metric_name(public_name, where=where)
        if name in values:
            raise ManifestError(f"{where}: metrics: {name!r} is given under two names")
        values[name] = math.nan if value is None else _number(value, f"metrics.{name}", where)
    return _without_missing(values)


def _metric_name(name: str, *, where: str) -> str:
    try:
        return get_metric(name).name
    except UnknownMetricError as error:
        if name.startswith(EXTRA_METRIC_PREFIXES):
            return name
        raise ManifestError(f"{where}: metrics: {error}") from error


def _check_fields(
    record: Mapping[str, Any], *, known: Sequence[str], optional: Sequence[str], where: str
) -> None:
    for name in known:
        if name not in record and name not in optional:
            rated = "; a rating on a five-point scale stands in metrics.mos_overall"
            raise ManifestError(
                f"{where}: field {name!r} is missing; expected {', '.join(known)}, "
                f"got {', '.join(record) or 'none'}{rated if 'rating' in record else ''}"
            )
    for name in record:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "put it under 'meta'"
            raise ManifestError(f"{where}: unknown field {name!r}; {hint}")


def _text(value: object, name: str, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(name, "a non-empty string", value, where=where)
    return value


def _number(value: object, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MAX_FLOAT:
        raise _wrong(name, "a finite number", value, where=where)
    return float(value)


def _duration(value: object, name: str, where: str) -> float:
    duration = _number(value, name, where)
    if not duration > 0:
        raise _wrong(name, "seconds above 0", value, where=where)
    return duration


def _cell(cell: str, name: str, where: str) -> float:
    try:
        return _number(float(cell), name, where)
    except ValueError as error:
        raise _wrong(name, "a finite number or an empty cell", cell, where=where) from error


def _without_missing(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def _public_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    return {
        (METRICS[name].manifest_name if name in METRICS else name): value
        for name, value in metrics.items()
        if not math.isnan(value)
    }


def _relative(path: str | Path, folder: Path) -> str:
    # Compared as absolute paths so that both may be relative to the working directory.
    absolute, root = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    return (absolute.relative_to(root) if absolute.is_relative_to(root) else absolute).as_posix()


def _wrong(name: str, expected: str, got: object, *, where: str) -> ManifestError:
    return ManifestError(f"{where}: {name}: expected {expected}, got {got!r} ({_kind(got)})")


def _kind(value: object) -> str:
    return type(value).__name__
