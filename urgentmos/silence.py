"""Digital silence at the edges of a recording, which says nothing about the speech in it."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from urgentmos.audio import SILENT_LEVEL
from urgentmos.masks import check_lengths, lengths_to_mask

SILENCE_LEVEL = 1e-7
"""Largest sample of digital silence, full scale 1: -140 dB, less than the last bit of 24."""

# A long pause within a recording comes in blocks of this many samples.
_MAX_BLOCK = 1 << 16


class EdgeSilence:
    """Leaves digital silence before the first sound and after the last out of a stream.

    A recording that is digital silence throughout stays as it is.

    Attributes:
        num_before: Samples left out before the first sound.
        num_after: Samples left out after the last; final when the stream is used up.
    """

    def __init__(self) -> None:
        self.num_before = 0
        self.num_after = 0

    def drop(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Go through the sounding part; silence within it comes as zeros.

        Args:
            blocks: Consecutive samples of one recording.
        """
        heard = False
        for block in blocks:
            sounding = np.flatnonzero(np.abs(block) > SILENCE_LEVEL)
            if len(sounding) == 0:
                self.num_after += len(block)
                continue
            start, end = int(sounding[0]), int(sounding[-1]) + 1
            if heard:
                yield from _zeros(self.num_after)
                start = 0
            else:
                self.num_before, heard = self.num_after + start, True
            yield block[start:end]
            self.num_after = len(block) - end
        if not heard:
            yield from _zeros(self.num_after)
            self.num_after = 0


def is_silent(
    waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Bool[Tensor, " batch"]:
    """Tell which recordings would be flagged as silent; see ``AudioReader.flags``.

    Args:
        waveform: What lies beyond a recording's length is ignored.
        lengths: Samples of each recording.
    """
    padding = ~lengths_to_mask(lengths, waveform.shape[1])
    high = waveform.masked_fill(padding, -torch.inf).amax(dim=1)
    low = waveform.masked_fill(padding, torch.inf).amin(dim=1)
    return (high - low) / 2 < SILENT_LEVEL


def drop_edge_silence(
    waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch out_samples"], Int[Tensor, " batch"]]:
    """Leave digital silence before the first sound and after the last out of each recording.

    A recording that is digital silence throughout stays as it is. Differentiable.

    Args:
        waveform: What lies beyond a recording's length is ignored.
        lengths: Samples of each recording.

    Returns:
        The sounding parts and their lengths.

    Raises:
        ValueError: A recording is empty or longer than the waveform.
    """
    num_samples = waveform.shape[1]
    check_lengths(lengths, num_samples)
    last = lengths.long()[:, None] - 1
    if bool(_is_sound(waveform.gather(1, torch.cat([torch.zeros_like(last), last], dim=1))).all()):
        return waveform, lengths
    if int(lengths.min()) < num_samples:
        waveform = waveform.masked_fill(~lengths_to_mask(lengths, num_samples), 0.0)
    sounding = _is_sound(waveform).to(torch.uint8)
    is_silent = sounding.amax(dim=1) == 0
    # The first of equal values is the one that argmax gives.
    first = sounding.argmax(dim=1).masked_fill(is_silent, 0)
    end = num_samples - sounding.flip(1).argmax(dim=1)
    end = torch.where(is_silent, lengths, end)
    kept = end - first
    steps = torch.arange(int(kept.max()), device=waveform.device)
    index = (first[:, None] + steps).clamp_max(num_samples - 1)
    return waveform.gather(1, index).masked_fill(steps >= kept[:, None], 0.0), kept


def _is_sound(samples: Float[Tensor, "batch samples"]) -> Bool[Tensor, "batch samples"]:
    # Not `above the level`: NaN is neither, and must not vanish.
    return ~(samples.abs() <= SILENCE_LEVEL)


def _zeros(num_samples: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, num_samples, _MAX_BLOCK):
        yield np.zeros(min(_MAX_BLOCK, num_samples - start), np.float32)
