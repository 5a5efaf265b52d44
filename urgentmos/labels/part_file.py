"""Append-only file of a labelling job: one line per recording, safe to cut off anywhere."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from urgentmos.file_lock import lock_file
from urgentmos.labels.worker import Outcome
from urgentmos.name_bytes import JSON_ERRORS
from urgentmos.whole_lines import cut_broken_line, read_whole_lines


class PartFileError(ValueError):
    """A part file does not fit the job that wants to go on with it."""


class PartFile:
    """Outcomes on disk as soon as they are known.

    Lines are ``{"tools": {label: version}}`` at each start and ``{"uid", "metrics", "errors",
    "inputs"}`` per recording. A line cut off by a kill is dropped at the next start.
    """

    def __init__(self, path: Path, *, tools: Mapping[str, str]) -> None:
        """Open a job's part file, new or left by an earlier run.

        Args:
            path: The file.
            tools: Version of the tool behind each wanted label.

        Raises:
            PartFileError: It holds labels of another tool version or precision, or is damaged.
            FileLockedError: Another job is writing it.
        """
        self._path = path
        self.outcomes: dict[str, Outcome] = {}
        """What earlier runs found, by uid; of other inputs, the last."""
        self._file: IO[str] = path.open("a", encoding="utf-8", errors=JSON_ERRORS)
        try:
            lock_file(self._file.fileno(), path)
            self._read(tools)
        except ValueError:
            self._file.close()
            raise
        self._write({"tools": dict(tools)})

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; it stays for the next run."""
        self._file.close()

    def append(self, outcome: Outcome) -> None:
        """Add what one recording gave to what is known of it."""
        self._merge(outcome)
        self._write(asdict(outcome))

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()

    def _merge(self, new: Outcome) -> None:
        old = self.outcomes.get(new.uid)
        if old is None or old.inputs != new.inputs:
            old = Outcome(new.uid)
        metrics = {**old.metrics, **new.metrics}
        errors = {**old.errors, **new.errors}
        self.outcomes[new.uid] = Outcome(
            new.uid,
            metrics=metrics,
            errors={name: why for name, why in errors.items() if name not in metrics},
            inputs=new.inputs,
        )

    def _read(self, tools: Mapping[str, str]) -> None:
        cut_broken_line(self._path)
        try:
            lines = read_whole_lines(self._path)
        except UnicodeDecodeError as error:
            raise PartFileError(f"{self._path}: damaged: {error}") from error
        for number, text in enumerate(lines, start=1):
            self._take(text, tools, where=f"{self._path}:{number}")

    def _take(self, text: str, tools: Mapping[str, str], *, where: str) -> None:
        try:
            line = json.loads(text)
            if "tools" in line:
                self._check_tools(line["tools"], tools)
            else:
                self._merge(Outcome(**line))
        except json.JSONDecodeError as error:
            raise PartFileError(f"{where}: not JSON: {error}") from error
        except (AttributeError, TypeError) as error:
            raise PartFileError(f"{where}: damaged: {error}") from error

    def _check_tools(self, then: Mapping[str, str], now: Mapping[str, str]) -> None:
        for label in then.keys() & now.keys():
            if then[label] != now[label]:
                raise PartFileError(
                    f"{self._path} was begun with {label} from {then[label]!r}, this run has "
                    f"{now[label]!r}; use the same again, or delete the file to start over"
                )
