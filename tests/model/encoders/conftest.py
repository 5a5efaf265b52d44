"""Batches of recordings."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def recordings(speech: Callable[..., np.ndarray]) -> Callable[..., Batch]:
    """Make a padded batch: ``recordings([samples, ...], padded_to=...)``."""

    def make(lengths: Sequence[int], *, padded_to: int | None = None, seed: int = 0) -> Batch:
        waveform = torch.zeros(len(lengths), padded_to or max(lengths))
        for row, samples in enumerate(lengths):
            waveform[row, :samples] = torch.from_numpy(speech(samples / 16000, seed=seed + row))
        return waveform, torch.tensor(lengths)

    return make
