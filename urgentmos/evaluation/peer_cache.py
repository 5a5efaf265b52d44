"""The table in which scores of other tools are kept from run to run, because they are slow."""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from urgentmos.data.label_table import read_labels, write_labels
from urgentmos.data.manifest import Recording
from urgentmos.file_lock import FileLockedError, lock_folder, wait_for_lock
from urgentmos.name_bytes import name_bytes
from urgentmos.whole_file import whole_file

Labels = Mapping[str, Mapping[str, float]]
"""Scores by metric, under the ``file_key`` of a recording, that of its reference and the version of
the tool."""


class PeerCacheError(ValueError):
    """There is no place for the table."""


class PeerCache:
    """A label table that several runs may read and add to at once.

    Args:
        path: The table; made when something is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Labels:
        """Read what is there by now."""
        return read_labels(self._path) if self._path.exists() else {}

    def add(self, labels: Labels) -> None:
        """Add scores to those that are there by now, other runs' among them."""
        if not any(labels.values()):
            return
        with wait_for_lock(self._path):
            kept = dict(self.read())
            for key, metrics in labels.items():
                kept[key] = {**kept.get(key, {}), **metrics}
            rows = [_placeholder(key, metrics) for key, metrics in kept.items()]
            # The suffix says whether the table is compressed.
            with whole_file(self._path, suffix=f".unfinished{self._path.suffix}") as unfinished:
                write_labels(unfinished, rows, decimals=5)

    @contextlib.contextmanager
    def workplace(self, request: Sequence[str]) -> Iterator[Path]:
        """Give a folder beside the table that the same request finds again after a kill.

        Other requests have other folders; the same one at the same time has a private folder.

        Args:
            request: Says what is to be done in the folder, so that it goes on with nothing else.

        Raises:
            PeerCacheError: The folder cannot be made.
        """
        digest = hashlib.sha256(name_bytes("\n".join(request))).hexdigest()[:12]
        folder = self._path.with_name(f"{self._path.name}.{digest}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PeerCacheError(
                f"{str(self._path.parent)!r} cannot keep the peers' scores ({error.strerror}); "
                "name a table elsewhere: --peer-cache"
            ) from error
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock_folder(folder))
            except FileLockedError:
                private = tempfile.TemporaryDirectory(prefix="urgentmos-peers-")
                yield Path(stack.enter_context(private))
            else:
                yield folder
                shutil.rmtree(folder)


def _placeholder(key: str, metrics: Mapping[str, float]) -> Recording:
    return Recording(Path(key), key, "-", "-", 1.0, dict(metrics))
