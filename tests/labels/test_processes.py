"""Worker processes of a labelling job end with it."""

import concurrent.futures.process
import multiprocessing

import pytest

from urgentmos.labels.processes import label_tasks
from urgentmos.labels.worker import Task


def test_an_interrupt_while_workers_start_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        assert multiprocessing.active_children()
        raise KeyboardInterrupt

    # What the pool does next, once it has started a process.
    monkeypatch.setattr(concurrent.futures.process, "_ExecutorManagerThread", interrupt)
    task = Task("a", "a.wav", None, ("dnsmos_p808",), "")
    with pytest.raises(KeyboardInterrupt):
        list(label_tasks([task], workers=1, precision="float32"))
    assert not multiprocessing.active_children()
