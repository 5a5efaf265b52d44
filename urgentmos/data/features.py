"""Hidden states of a frozen encoder, computed once and read from disk in every epoch.

They lie in a store (`urgentmos.data.array_store`), as little-endian float16 of shape
(frames, layers, dim).
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from urgentmos.data.array_store import StoredArrays
from urgentmos.ndarray import NDArray

_MOMENT_FRAMES = 100_000
"""From about how many frames mean and deviation are taken, at most twice as many."""


class StoredStates(NamedTuple):
    """Hidden states of a batch.

    Attributes:
        hidden_states: Layers in order; zero beyond each recording's frames.
        lengths: Valid frames of each recording.
    """

    hidden_states: Float[Tensor, "batch layers frames dim"]
    lengths: Int[Tensor, " batch"]

    def to(self, device: torch.device) -> "StoredStates":
        """Move the tensors to a device."""
        return StoredStates(
            self.hidden_states.to(device, non_blocking=True),
            self.lengths.to(device, non_blocking=True),
        )


class FeatureStore:
    """Read one encoder's hidden states.

    Args:
        states: Rows of shape (layers, dim), a frame each.
        selected: Layers that are read, by number; all when None.
    """

    def __init__(self, states: StoredArrays, *, selected: Sequence[int] | None = None) -> None:
        _, layers, self.dim = states.rows.shape
        self.selected = list(range(layers)) if selected is None else list(selected)
        self._states = states

    def select(self, positions: NDArray[np.int64]) -> "FeatureStore":
        """A part of the recordings, renumbered from 0."""
        selected = copy.copy(self)
        selected._states = self._states.select(positions)
        return selected

    def read(
        self, recordings: NDArray[np.int64], spans: NDArray[np.float64] | None = None
    ) -> StoredStates:
        """Read recordings, or a part of each.

        Args:
            recordings: Positions in the manifest.
            spans: Rows (begin, end) of the parts, as shares of the recordings; at least one frame
                is read. None reads them whole.
        """
        frames, begins = self._states.counts[recordings], self._states.begins[recordings]
        if spans is None:
            first, last = np.zeros_like(frames), frames
        else:
            first = np.minimum(np.rint(spans[:, 0] * frames).astype(np.int64), frames - 1)
            last = np.maximum(np.rint(spans[:, 1] * frames).astype(np.int64), first + 1)
        lengths = last - first
        hidden = torch.zeros(len(frames), len(self.selected), int(lengths.max()), self.dim)
        for row, begin, length in zip(hidden, begins + first, lengths.tolist(), strict=True):
            states = np.ascontiguousarray(self._states.rows[begin : begin + length, self.selected])
            row[:, :length] = torch.from_numpy(states).transpose(0, 1)
        return StoredStates(hidden, torch.from_numpy(lengths))

    def moments(self) -> tuple[Float[Tensor, "layers dim"], Float[Tensor, "layers dim"]]:
        """Give mean and standard deviation of every feature over evenly chosen frames."""
        ends = np.cumsum(self._states.counts)
        chosen = np.arange(0, ends[-1], max(1, ends[-1] // _MOMENT_FRAMES))
        recordings = np.searchsorted(ends, chosen, side="right")
        rows = chosen + (self._states.begins + self._states.counts - ends)[recordings]
        states = torch.from_numpy(self._states.rows[rows][:, self.selected]).float()
        return states.mean(dim=0), states.std(dim=0)
