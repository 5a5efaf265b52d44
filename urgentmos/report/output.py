"""The output of a run: rows in the order of the inputs, resumable, in the wanted format.

CSV and JSON lines are written row by row. Parquet and HTML cannot be: their rows go to
``OUTPUT.part.jsonl``, and the file is made from it when the last is there.

On resume the rows of the earlier run are first put aside in ``OUTPUT.kept.jsonl``; then, when the
first row is asked for, the output is written anew, kept rows copied, missing and failed ones made.
What stops a run before that leaves the output as it was. Whenever a run is killed,
the two files together hold every finished row; a whole Parquet file or page beside them is one that
they are to replace.
"""

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal

from urgentmos.extras import require
from urgentmos.report.html import write_html
from urgentmos.report.kept_rows import KeptRows, put_aside
from urgentmos.report.parquet import as_written, read_parquet, write_parquet
from urgentmos.report.row_file import (
    Columns,
    Key,
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


class RowOutput(Generic[Key]):
    """Writes one row per input, in order; use it as a context manager.

    Args:
        path: Output; its suffix names the format.
        columns: Columns, with the type of their values; ``status`` and ``model`` are among them.
        key: Columns that say what a row is about.
        inputs: What the rows will be about, in order, each once: the value of the key's column, or
            the pair of values of its two columns.
        model: What the ``model`` column says in this run.
        mode: ``new`` refuses a file that exists, ``overwrite`` replaces it, ``resume`` keeps its
            rows that did not fail.

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
        key: Sequence[str] = ("path",),
        inputs: Sequence[Key],
        model: str,
        mode: WriteMode = "new",
    ) -> None:
        self._path = path
        self._columns = columns
        self._key_columns = key
        self._key: Callable[[Record], Any] = operator.itemgetter(*key)
        self._inputs: Sequence[Key] = inputs
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
        self._kept_path = path.with_name(path.name + ".kept.jsonl")
        self._was_there, self._had_kept = rows_path.exists(), self._kept_path.exists()
        self._file = RowFile(rows_path, columns, self._format, must_be_new=mode == "new")
        try:
            self._kept: KeptRows[Key] = self._find_kept(mode, model)
        except BaseException:
            self._leave_no_empty_file()
            self._file.close()
            raise
        self._is_as_it_was = True
        self._num_before: int | None = None

    @property
    def missing(self) -> list[Key]:
        """Inputs without a row that did not fail, in order."""
        return [about for about in self._inputs if about not in self._kept]

    @property
    def num_kept(self) -> int:
        """Rows taken over from an earlier run."""
        return len(self._kept)

    @property
    def rows_path(self) -> Path:
        """Where rows are until the output is whole: itself, or ``OUTPUT.part.jsonl``."""
        return self._file.path

    @property
    def num_written(self) -> int:
        """Rows in that file, those taken over among them."""
        return self._file.num_rows

    @property
    def scored(self) -> frozenset[Key]:
        """What the rows taken over are about, but for those that failed."""
        return frozenset(about for about in self._kept if self._kept.read(about)["status"] == "ok")

    def merge(self, records: Iterator[Record]) -> Iterator[Record]:
        """Write every row, and give each as it is written.

        Args:
            records: Rows of ``missing``, in that order.
        """
        self._begin()
        for about in self._inputs:
            record = self._kept.read(about) if about in self._kept else next(records)
            self._file.write(record)
            yield record

    def __enter__(self) -> "RowOutput[Key]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._num_before is None:
            self._leave_unbegun()
            return
        try:
            # Stopped early: rows kept for inputs that were not reached go to the output too.
            num_done = self._file.num_rows - self._num_before
            for about in itertools.islice(self._inputs, num_done, None):
                if about in self._kept:
                    self._file.write(self._kept.read(about))
            # Its rows are in the output's own now; left alone, it would pass for all that there is.
            self._kept.path.unlink(missing_ok=True)
            if self._render is not None and error is None:
                rows = read_records(self._file.path, self._columns, "jsonl")
                self._render(self._path, self._columns, rows)
                self._file.path.unlink()
        except OSError:
            # The rows are safe in the files beside the output. What stopped the run comes first.
            if error is None:
                raise
        finally:
            if error is not None and self._file.num_rows == 0:
                self._leave_no_empty_file()
            self._kept.close()
            self._file.close()

    def _leave_no_empty_file(self) -> None:
        # It would look like the rows of a killed run.
        if not self._was_there:
            self._file.path.unlink(missing_ok=True)

    def _leave_unbegun(self) -> None:
        # Stopped in the middle of beginning, the output lacks rows that were put aside.
        if self._is_as_it_was and not self._had_kept:
            self._kept.path.unlink(missing_ok=True)
        self._leave_no_empty_file()
        self._kept.close()
        self._file.close()

    def _find_kept(self, mode: WriteMode, model: str) -> KeptRows[Key]:
        if mode == "resume":
            put_aside(
                self._earlier_rows(),
                self._kept_path,
                columns=self._columns,
                key=self._key,
                wanted=frozenset(self._inputs),
                model=model,
            )
        else:
            self._kept_path.unlink(missing_ok=True)
        return KeptRows(self._kept_path, self._key)

    def _begin(self) -> None:
        """Write the output anew, from here on."""
        self._is_as_it_was = False
        self._file.restart()
        inputs = frozenset(self._inputs)
        for about in self._kept:
            # Rows that this run was not asked for are not lost: they come first.
            if about not in inputs:
                self._file.write(self._kept.read(about))
        self._num_before = self._file.num_rows

    def _earlier_rows(self) -> Iterator[dict[str, Value]]:
        if self._had_kept:
            yield from read_records(self._kept_path, self._columns, "jsonl")
        # Rows beside it are newer: an interrupted --overwrite was to replace it by them.
        is_newest = not self._had_kept and not self._file.path.stat().st_size
        if self._render is not None and self._path.exists() and is_newest:
            yield from self._whole_rows()
        yield from read_records(self._file.path, self._columns, self._format)

    def _whole_rows(self) -> Iterator[dict[str, Value]]:
        """Read back an output that was made when its last row was there."""
        if self._path.suffix.lower() != ".parquet":
            raise OutputError(
                f"{str(self._path)!r} is complete and cannot be read back; "
                "start again with --overwrite"
            )
        parts = ([about] if isinstance(about, str) else about for about in self._inputs)
        names = {as_written(name): name for name in itertools.chain.from_iterable(parts)}
        for row in read_parquet(self._path, self._columns):
            yield row | {
                column: names.get(str(row[column]), row[column]) for column in self._key_columns
            }
