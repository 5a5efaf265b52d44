"""Manifests: recordings and pairs with their labels, in the public UrgentMOS JSON lines.

A recording is one line ``{"audio_path", "uid", "system_id", "reference_id", "duration", "metrics",
"meta"}``; a pair is one line ``{"audio_paths", "metrics", "durations"}``. Files use the public
metric names (``mos_overall``); in memory a metric has the name of `urgentmos.metrics` (``mos``).
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from urgentmos.data.label_table import merge_labels
from urgentmos.data.manifest_fields import (
    ManifestError,
    check_fields,
    kind_of,
    parse_duration,
    parse_metrics,
    parse_text,
    public_metrics,
    wrong_value,
)
from urgentmos.data.recording import Pair, Recording
from urgentmos.name_bytes import JSON_ERRORS

__all__ = [
    "ManifestError",
    "Pair",
    "Recording",
    "is_pair_manifest",
    "read_audio_paths",
    "read_lines",
    "read_manifest",
    "read_pairs",
    "write_manifest",
    "write_pairs",
]

_RECORDING_FIELDS = (
    "audio_path", "uid", "system_id", "reference_id", "duration", "metrics", "meta",
)  # fmt: skip
_PAIR_FIELDS = ("audio_paths", "metrics", "durations")
_CMOS = "mos_overall"
# The difference of two ratings from 1 to 5.
_WIDEST_CMOS = 4.0


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


def write_manifest(path: str | Path, recordings: Iterable[Recording]) -> None:
    """Write recordings as JSON lines, with paths below the manifest's folder made relative."""
    path = Path(path)
    with path.open("w", encoding="utf-8", errors=JSON_ERRORS) as file:
        for recording in recordings:
            meta = dict(recording.meta)
            if meta.get("reference_path") is not None:
                meta["reference_path"] = relative_path(meta["reference_path"], path.parent)
            record = {
                "audio_path": relative_path(recording.audio_path, path.parent),
                "uid": recording.uid,
                "system_id": recording.system_id,
                "reference_id": recording.reference_id,
                "duration": recording.duration,
                "metrics": public_metrics(recording.metrics),
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
    """Write pairs as JSON lines, with paths below the file's folder made relative.

    Raises:
        ManifestError: A comparison score is none of a scale from 1 to 5.
    """
    path = Path(path)
    with path.open("w", encoding="utf-8", errors=JSON_ERRORS) as file:
        for pair in pairs:
            if abs(pair.cmos) > _WIDEST_CMOS:
                raise ManifestError(
                    f"{pair.a} and {pair.b} are {abs(pair.cmos):g} apart, and comparison scores "
                    "are between -4 and 4: bring ratings to the scale from 1 to 5 first"
                )
            record = {
                "audio_paths": [relative_path(member, path.parent) for member in (pair.a, pair.b)],
                "metrics": {_CMOS: pair.cmos},
                "durations": list(pair.durations),
            }
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def read_audio_paths(path: str | Path) -> Iterator[Path]:
    """Read only which recordings a manifest names, whatever else it says of them.

    Yields:
        Paths, relative ones resolved against the manifest's folder.

    Raises:
        ManifestError: A line is no JSON object, or has no ``audio_path``.
    """
    path = Path(path)
    for number, record in read_lines(path):
        where = f"{path}:{number}"
        if "audio_path" not in record:
            raise ManifestError(
                f"{where}: field 'audio_path' is missing; got {', '.join(record) or 'none'}"
            )
        yield path.parent / parse_text(record["audio_path"], "audio_path", where)


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
                raise ManifestError(f"{path}:{number}: expected an object, got {kind_of(record)}")
            yield number, record


def _parse_recording(record: dict[str, Any], *, folder: Path, where: str) -> Recording:
    check_fields(record, known=_RECORDING_FIELDS, optional=("meta",), where=where)
    meta = record.get("meta") or {}
    if not isinstance(meta, dict):
        raise wrong_value("meta", "an object", meta, where=where)
    if meta.get("reference_path") is not None:
        reference = parse_text(meta["reference_path"], "meta.reference_path", where)
        meta = {**meta, "reference_path": str(folder / reference)}
    if "label_errors" in meta:
        meta = {**meta, "label_errors": _parse_label_errors(meta["label_errors"], where)}
    return Recording(
        audio_path=folder / parse_text(record["audio_path"], "audio_path", where),
        uid=parse_text(record["uid"], "uid", where),
        system_id=parse_text(record["system_id"], "system_id", where),
        reference_id=parse_text(record["reference_id"], "reference_id", where),
        duration=parse_duration(record["duration"], "duration", where),
        metrics=parse_metrics(record["metrics"], where=where),
        meta=meta,
    )


def _parse_label_errors(errors: object, where: str) -> dict[str, str]:
    if errors is None:
        return {}
    if not isinstance(errors, dict) or not all(isinstance(why, str) for why in errors.values()):
        expected = "an object that has a reason for each missing label"
        raise wrong_value("meta.label_errors", expected, errors, where=where)
    return errors


def _parse_pair(record: dict[str, Any], *, folder: Path, where: str) -> Pair:
    check_fields(record, known=_PAIR_FIELDS, optional=(), where=where)
    for name in ("audio_paths", "durations"):
        if not isinstance(record[name], list) or len(record[name]) != 2:
            raise wrong_value(name, "a list of two", record[name], where=where)
    a, b = (folder / parse_text(member, "audio_paths", where) for member in record["audio_paths"])
    if a == b:
        raise ManifestError(f"{where}: audio_paths: a recording is paired with itself: {a}")
    metrics = parse_metrics(record["metrics"], where=where)
    if "mos" not in metrics:
        raise wrong_value("metrics", f"a number for {_CMOS!r}", record["metrics"], where=where)
    if abs(metrics["mos"]) > _WIDEST_CMOS:
        raise wrong_value("metrics", f"{_CMOS!r} between -4 and 4", metrics["mos"], where=where)
    first, second = (parse_duration(value, "durations", where) for value in record["durations"])
    return Pair(a=a, b=b, cmos=metrics["mos"], durations=(first, second))


def relative_path(path: str | Path, folder: Path) -> str:
    """Write a path as manifests in a folder do: relative to it if it is below, with slashes."""
    # Compared as absolute paths so that both may be relative to the working directory.
    absolute, root = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    return (absolute.relative_to(root) if absolute.is_relative_to(root) else absolute).as_posix()
