"""Which frames DNSMOS hears of a recording, and which of them its windows share."""

from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from urgentmos.audio import SAMPLE_RATE
from urgentmos.labels import dnsmos as dnsmos_tool

HOP_SAMPLES = 160
_WINDOW_FRAMES = 900
# What four layers of three frames see to each side.
_REACH = 4


@dataclass(frozen=True)
class Windows:
    """Which frames DNSMOS hears of recordings of one length, and which of them are shared."""

    samples: int
    """Of the recording and its copies, up to where the last window ends."""
    first_frames: list[int]
    """First frame of each window that differs from the others."""
    weights: Tensor
    """(windows,): their shares of the mean."""
    shared_frames: int
    """So many are computed once."""
    inner_rows: Tensor
    """(windows, 446): rows of two frames in the pooled output for the shared frames."""
    edge_frames: Tensor
    """(windows, 2, 8): the frames that decide what comes of the first and last four."""

    @property
    def most_frames(self) -> int:
        """Frames per recording of the largest tensors."""
        return max(self.shared_frames, _WINDOW_FRAMES * len(self.first_frames) // 2)


@cache
def cut_windows(samples: int, device: torch.device) -> Windows:
    """Cut recordings of so many samples into the windows of `urgentmos.labels.dnsmos`."""
    silence = np.zeros(samples, dtype=np.float32)
    starts = [start for start, _ in dnsmos_tool.cut_windows(silence)]
    counts = Counter(starts)
    hop = SAMPLE_RATE // HOP_SAMPLES
    first_frames = [starts.index(start) * hop for start in counts]
    first = torch.tensor(first_frames)[:, None]
    inner = first + torch.arange(_REACH, _WINDOW_FRAMES - _REACH, 2)
    num_frames = max(first_frames) + _WINDOW_FRAMES
    shared_frames = num_frames
    # Frames repeat from copy to copy; rows of two frames do too where their number is even.
    period, rest = divmod(samples, HOP_SAMPLES)
    if rest == 0 and period % 2 == 0 and period + 2 * _REACH < num_frames:
        shared_frames = period + 2 * _REACH
        inner = _REACH + (inner - _REACH) % period
    edge = torch.arange(2 * _REACH)
    edges = torch.stack([first + edge, first + _WINDOW_FRAMES - 2 * _REACH + edge], dim=1)
    return Windows(
        samples=(num_frames + 1) * HOP_SAMPLES,
        first_frames=first_frames,
        weights=torch.tensor([count / len(starts) for count in counts.values()]).to(device),
        shared_frames=shared_frames,
        inner_rows=(inner // 2).to(device),
        edge_frames=edges.to(device),
    )
