"""Processes forked from one that has a model, as those of ``multiprocessing`` are on Linux."""

import os

import torch

_computing: int | None = None


def leave_lost_threads() -> None:
    """In a process forked from one that computed, have torch compute in one thread.

    A fork copies none of the threads that GNU's OpenMP keeps, and what is shared out among them is
    waited for without end. PyTorch's DataLoader has its workers compute in one, too.
    """
    global _computing
    if _computing is None:
        _computing = os.getpid()
    elif _computing != os.getpid():
        _computing = os.getpid()
        torch.set_num_threads(1)
