"""Label tables: CSV with a column ``uid`` and one per metric, merged onto manifests."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from urgentmos.data.manifest_fields import (
    ManifestError,
    parse_metric_name,
    parse_number,
    public_metrics,
    without_missing,
    wrong_value,
)
from urgentmos.data.recording import Recording
from urgentmos.metrics import METRICS
from urgentmos.name_bytes import CSV_ERRORS

# Spreadsheets put a byte order mark in front.
_ENCODING = "utf-8-sig"
# A line is read in pieces: a few megabytes compressed can be gigabytes without a break.
_MAX_PIECE = 1 << 20


def read_labels(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a label table.

    Args:
        path: CSV with a ``uid`` column and one column per metric; gzipped if it ends in ``.gz``.
            An empty cell or ``nan`` is a missing label.

    Returns:
        Labels by uid, then by metric.

    Raises:
        ManifestError: A column is no metric, a cell no number, a uid comes twice, or it is no CSV.
    """
    path = Path(path)
    try:
        return _parse_labels(path)
    except (csv.Error, gzip.BadGzipFile, zlib.error, EOFError) as error:
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
    writer.writerow(["uid", *public_metrics(dict.fromkeys(names, 0.0))])
    for row in rows:
        values = (row.metrics.get(name, math.nan) for name in names)
        cells = ("" if math.isnan(value) else f"{value:.{decimals}f}" for value in values)
        writer.writerow([row.uid, *cells])
    content = text.getvalue().encode("utf-8", CSV_ERRORS)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


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


def merge_tables(
    recordings: Sequence[tuple[str | Path, Sequence[Recording]]], tables: Sequence[str | Path]
) -> None:
    """Merge label tables onto the recordings of several manifests, in place.

    Args:
        recordings: Manifests and what each of them holds. A table may be about some of them.
        tables: They are applied in order; a value there replaces an earlier one.

    Raises:
        ManifestError: A table breaks its format, none of its uids is in any manifest, or, where
            there are tables, a uid is in two manifests.
    """
    if not tables:
        return
    manifest_by_uid: dict[str, str] = {}
    for manifest, members in recordings:
        for recording in members:
            first = manifest_by_uid.setdefault(recording.uid, str(manifest))
            # A uid is system and content: two corpora may well share one.
            if first != str(manifest):
                raise ManifestError(
                    f"{manifest}: uid {recording.uid!r} is also in {first}, and label tables name "
                    "recordings by uid alone; label the manifests instead"
                )
    together = [recording for _, members in recordings for recording in members]
    for table in tables:
        merge_labels(together, table)


def _parse_labels(path: Path) -> dict[str, dict[str, float]]:
    labels: dict[str, dict[str, float]] = {}
    with _open_text(path) as file:
        rows = csv.reader(iter(lambda: file.readline(_MAX_PIECE), ""))
        header = next(rows, [])
        if not header or header[0] != "uid":
            raise ManifestError(f"{path}:1: expected the first column to be 'uid', got {header}")
        metrics = [parse_metric_name(name, where=f"{path}:1") for name in header[1:]]
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if len(row) != len(header):
                raise ManifestError(f"{where}: expected {len(header)} cells, got {len(row)}")
            if row[0] in labels:
                raise ManifestError(f"{where}: uid {row[0]!r} comes twice")
            cells = zip(metrics, row[1:], strict=True)
            labels[row[0]] = {name: _cell(cell, name, where) for name, cell in cells if cell}
    return {uid: without_missing(values) for uid, values in labels.items()}


def _open_text(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=_ENCODING, errors=CSV_ERRORS, newline="")
    return path.open(encoding=_ENCODING, errors=CSV_ERRORS, newline="")


def _cell(cell: str, name: str, where: str) -> float:
    try:
        return parse_number(float(cell), name, where)
    except ValueError as error:
        raise wrong_value(name, "a finite number or an empty cell", cell, where=where) from error
