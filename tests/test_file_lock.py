import os
import sys
import threading
from pathlib import Path

import pytest

from urgentmos import file_lock
from urgentmos.file_lock import FileLockedError, lock_file, wait_for_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="on Windows there is no lock")


def test_a_file_that_another_run_removes_meanwhile_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    with path.open("a") as file:
        path.unlink()
        # Another run makes it anew, and removes it just after we have looked.
        monkeypatch.setattr(Path, "exists", lambda _: True)
        with pytest.raises(FileLockedError, match="has just finished writing"):
            lock_file(file.fileno(), path)


def test_a_file_that_another_run_made_anew_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("a") as file:
        path.unlink()
        path.write_text("of another run")
        with pytest.raises(FileLockedError, match="has just finished writing"):
            lock_file(file.fileno(), path)


def test_writers_wait_for_each_other_and_leave_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    path.write_text("0")

    def count() -> None:
        for _ in range(20):
            with wait_for_lock(path):
                path.write_text(str(int(path.read_text()) + 1))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "60"
    assert list(tmp_path.iterdir()) == [path]


def test_waiting_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lock, "_PATIENCE_S", 0.05)
    path = tmp_path / "counts"
    descriptor = os.open(tmp_path / "counts.lock", os.O_CREAT)
    lock_file(descriptor, tmp_path / "counts.lock")
    with pytest.raises(FileLockedError, match="another run is writing"), wait_for_lock(path):
        pass
    os.close(descriptor)
