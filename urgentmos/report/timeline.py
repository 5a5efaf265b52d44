"""Scores over time, one row per window, beside the rows of a run."""

from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType

from urgentmos.report.output import WriteMode
from urgentmos.report.row_file import (
    Columns,
    OutputError,
    Record,
    RowFile,
    RowFormat,
    encode_header,
    encode_record,
    read_records,
    streamed_format,
)
from urgentmos.report.whole_report import whole_report


class TimelineFile:
    """Writes windows recording by recording, in the order of scoring; a context manager.

    Windows of a recording are written before its row. A run that is killed in between leaves
    windows without a row, which a resumed run takes out again.

    Args:
        path: ``.csv`` or ``.jsonl``.
        columns: Columns, with the type of their values; ``path`` is among them.
        mode: ``new`` refuses a file that exists, ``overwrite`` replaces it, ``resume`` keeps the
            windows of recordings that have their row.
        scored: Recordings that have their row already, and whose windows are to be there.

    Raises:
        OutputError: The format is unknown, the file exists, or there are rows without windows.
        FileLockedError: Another run is writing it.
    """

    def __init__(
        self,
        path: Path,
        *,
        columns: Columns,
        mode: WriteMode,
        scored: Collection[str],
    ) -> None:
        row_format = streamed_format(path)
        if scored and not path.exists():
            raise OutputError(
                f"cannot resume: {len(scored)} rows are there, their timeline {str(path)!r} is "
                "not; leave out --timeline, or start again with --overwrite"
            )
        goes_on = mode == "resume" and path.exists()
        if goes_on:
            _prune(path, columns, row_format, scored)
        self._file = RowFile(path, columns, row_format, must_be_new=mode == "new")
        if not goes_on:
            self._file.restart()

    def write(self, records: Iterable[Record]) -> None:
        """Append the windows of one recording."""
        for record in records:
            self._file.write(record)

    def __enter__(self) -> "TimelineFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def _prune(path: Path, columns: Columns, row_format: RowFormat, scored: Collection[str]) -> None:
    """Leave only the windows of recordings that have their row, and refuse such without windows."""
    without = set(scored)
    with whole_report(path) as unfinished, unfinished.open("wb") as file:
        file.write(encode_header(columns, row_format))
        for record in read_records(path, columns, row_format):
            about = str(record["path"])
            if about in scored:
                without.discard(about)
                file.write(encode_record(record, columns, row_format))
        if without:
            raise OutputError(
                f"cannot resume: {len(without)} rows, as that of {min(without)!r}, have no windows "
                f"in the timeline {str(path)!r}; leave out --timeline, or start again with "
                "--overwrite"
            )
