"""Hidden states of a frozen encoder, computed once and read from disk in every epoch.

A store is two files. ``NAME.f16`` holds the hidden states of all recordings end to end, as
little-endian float16 of shape (frames, layers, dim), in the order they were computed. ``NAME.json``
says ``layers``, ``dim`` and, for each recording in manifest order, its first frame (``begins``) and
its number of ``frames``.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor


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
        path: The ``.f16`` file.
        begins: First frame of each recording.
        frames: Frames of each recording.
        layers: Hidden states per frame.
        dim: Size of each.
        selected: Layers that are read, by number; all when None.
    """

    def __init__(
        self,
        path: Path,
        *,
        begins: NDArray[np.int64],
        frames: NDArray[np.int64],
        layers: int,
        dim: int,
        selected: Sequence[int] | None = None,
    ) -> None:
        self.selected = list(range(layers)) if selected is None else list(selected)
        self.dim = dim
        self._begins = begins
        self._frames = frames
        self._states = np.memmap(path, dtype="<f2", mode="r").reshape(-1, layers, dim)

    def select(self, positions: NDArray[np.int64]) -> "FeatureStore":
        """A part of the recordings, renumbered from 0."""
        selected = copy.copy(self)
        selected._begins = self._begins[positions]
        selected._frames = self._frames[positions]
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
        frames, begins = self._frames[recordings], self._begins[recordings]
        if spans is None:
            first, last = np.zeros_like(frames), frames
        else:
            first = np.minimum(np.rint(spans[:, 0] * frames).astype(np.int64), frames - 1)
            last = np.maximum(np.rint(spans[:, 1] * frames).astype(np.int64), first + 1)
        lengths = last - first
        hidden = torch.zeros(len(frames), len(self.selected), int(lengths.max()), self.dim)
        for row, begin, length in zip(hidden, begins + first, lengths.tolist(), strict=True):
            states = np.ascontiguousarray(self._states[begin : begin + length, self.selected])
            row[:, :length] = torch.from_numpy(states).transpose(0, 1)
        return StoredStates(hidden, torch.from_numpy(lengths))

    def moments(
        self, *, max_frames: int = 100_000
    ) -> tuple[Float[Tensor, "layers dim"], Float[Tensor, "layers dim"]]:
        """Give mean and standard deviation of every feature over evenly chosen frames."""
        step = max(1, len(self._states) // max_frames)
        chosen = torch.from_numpy(self._states[::step][:, self.selected]).float()
        return chosen.mean(dim=0), chosen.std(dim=0)


def open_features(path: Path, *, selected: Sequence[int] | None = None) -> FeatureStore | None:
    """Open a store by its path without ending; None if it is not there yet."""
    index = path.with_name(f"{path.name}.json")
    if not index.exists():
        return None
    content = json.loads(index.read_text(encoding="utf-8"))
    return FeatureStore(
        path.with_name(f"{path.name}.f16"),
        begins=np.array(content["begins"], dtype=np.int64),
        frames=np.array(content["frames"], dtype=np.int64),
        layers=content["layers"],
        dim=content["dim"],
        selected=selected,
    )
