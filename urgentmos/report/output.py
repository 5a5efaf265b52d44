"""The output of a run: rows in the order of the inputs, resumable, in the wanted format.

CSV and JSON lines are written row by row. Parquet and HTML cannot be: their rows go to
``OUTPUT.part.jsonl``, and the file is made from it when the last is there.

On resume the rows of the earlier run are first put aside in ``OUTPUT.kept.jsonl``; then the
output is written anew, kept rows copied, missing and failed ones scored. Whenever a run is killed,
the two files together hold every finished row.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

from urgentmos.extras import require
from urgentmos.report.html import write_html
from urgentmos.report.kept_rows import KeptRows, put_aside
from urgentmos.report.parquet import as_written, read_parquet, write_parquet
from urgentmos.report.row_file import (
    Columns,
    OutputError,
    Record,
    RowFile,
    RowFormat,
    Value,
    read_records,
    streamed_format,
)

WriteMode = Literal["new", "resume", "overwrite"]

_RENDERED: dict[str, Callable[[Path, Columns, Iterable[Record]], None]] = {
    ".parquet": write_parquet,
    ".html": write_html,
}


class RowOutput:
    """Writes one row per input, in order; use it as a context manager.

    Args:
        path: Output; its suffix names the format.
        columns: Columns, with the type of their values; ``path``, ``status`` and ``model`` are
            among them.
        inputs: Paths of the recordings, in order, each once.
        model: What the ``model`` column says in this run.
        mode: ``new`` refuses a file that exists, ``overwrite`` replaces it, ``resume`` keeps its
            scored rows.

    Raises:
        OutputError: The format is unknown, the file exists, or what is there comes from another
            model, version or list of metrics.
        FileLockedError: Another run is writing it.
    """

    def __init__(
        self,
        path: Path,
        *,
        columns: Columns,
        inputs: Sequence[str],
        model: str,
        mode: WriteMode = "new",
    ) -> None:
        self._path = path
        self._columns = columns
        self._inputs = inputs
        self._render = _RENDERED.get(path.suffix.lower())
        self._format: RowFormat = (
            "jsonl" if self._render else streamed_format(path, others=_RENDERED)
        )
        if path.suffix.lower() == ".parquet":
            require("pyarrow", extra="parquet")  # Now, and not when hours of rows are done.
        rows_path = path if self._render is None else path.with_name(path.name + ".part.jsonl")
        earlier = [file for file in (path, rows_path) if file.exists()]
        if mode == "new" and earlier:
            raise OutputError(
                f"{str(earlier[0])!r} exists: go on with --resume, or start again with --overwrite"
            )
        self._file = RowFile(rows_path, columns, self._format, must_be_new=mode == "new")
        try:
            self._kept = self._start(mode, model)
        except BaseException:
            self._file.close()
            raise
        self._num_before = self._file.num_rows

    @property
    def missing(self) -> list[str]:
        """Inputs without a scored row, in order."""
        return [path for path in self._inputs if path not in self._kept]

    @property
    def num_kept(self) -> int:
        """Rows taken over from an earlier run."""
        return len(self._kept)

    def has_row(self, path: str) -> bool:
        """Whether the row of a recording was taken over from an earlier run."""
        return path in self._kept

    def merge(self, records: Iterator[Record]) -> Iterator[Record]:
        """Write every row, and give each as it is written.

        Args:
            records: Rows of ``missing``, in that order.
        """
        for path in self._inputs:
            record = self._kept.read(path) if path in self._kept else next(records)
            self._file.write(record)
            yield record

    def __enter__(self) -> "RowOutput":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            # Stopped early: rows kept for inputs that were not reached go to the output too.
            num_done = self._file.num_rows - self._num_before
            for path in itertools.islice(self._inputs, num_done, None):
                if path in self._kept:
                    self._file.write(self._kept.read(path))
            if self._render is not None and error is None:
                rows = read_records(self._file.path, self._columns, "jsonl")
                self._render(self._path, self._columns, rows)
                self._file.path.unlink()
            self._kept.path.unlink(missing_ok=True)
        except OSError:
            # The rows are safe in the files beside the output. What stopped the run comes first.
            if error is None:
                raise
        finally:
            self._kept.close()
            self._file.close()

    def _start(self, mode: WriteMode, model: str) -> KeptRows:
        kept_path = self._path.with_name(self._path.name + ".kept.jsonl")
        if mode == "resume":
            put_aside(
                self._earlier_rows(kept_path),
                kept_path,
                columns=self._columns,
                wanted=frozenset(self._inputs),
                model=model,
            )
        else:
            kept_path.unlink(missing_ok=True)
        kept = KeptRows(kept_path)
        self._file.restart()
        inputs = frozenset(self._inputs)
        for path in kept:
            # Rows of recordings that this run was not asked for are not lost: they come first.
            if path not in inputs:
                self._file.write(kept.read(path))
        return kept

    def _earlier_rows(self, kept_path: Path) -> Iterator[dict[str, Value]]:
        if kept_path.exists():
            yield from read_records(kept_path, self._columns, "jsonl")
        if self._render is not None and self._path.exists():
            if self._path.suffix.lower() != ".parquet":
                raise OutputError(
                    f"{str(self._path)!r} is complete and cannot be read back; "
                    "start again with --overwrite"
                )
            names = {as_written(path): path for path in self._inputs}
            for row in read_parquet(self._path, self._columns):
                yield row | {"path": names.get(str(row["path"]), row["path"])}
        yield from read_records(self._file.path, self._columns, self._format)
