"""Digital silence at the edges of a recording, which says nothing about the speech in it."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from urgentmos.audio import SILENT_LEVEL
from urgentmos.masks import check_lengths, lengths_to_mask
from urgentmos.ndarray import NDArray

SILENCE_LEVEL = 1e-7
"""Largest sample of digital silence, full scale 1: -140 dB, less than the last bit of 24."""

# A long pause within a recording comes in blocks of this many samples.
_MAX_BLOCK = 1 << 16

# Samples in which an edge is looked for at once: a window at 16 kHz takes one look.
_SEARCHED_AT_ONCE = 1 << 18


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
    first, end = sounding_bounds(waveform, lengths.long())
    kept = [
        recording[start:stop]
        for recording, start, stop in zip(waveform, first.tolist(), end.tolist(), strict=True)
    ]
    return pad_sequence(kept, batch_first=True), end - first


def sounding_bounds(
    waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Find the first sound of each recording and the sample after the last; all of a silent one."""
    # From either edge, block by block: of an hour, what is made on the way would take several times
    # the memory of the samples.
    num_samples = waveform.shape[1]
    starts = range(0, num_samples, _SEARCHED_AT_ONCE)
    first = torch.full_like(lengths, num_samples)
    end = torch.zeros_like(lengths)
    for start in starts:
        sounding = _sounding(waveform, lengths, start)
        # The first of equal values is the one that argmax gives.
        found = torch.where(sounding.amax(dim=1) > 0, start + sounding.argmax(dim=1), num_samples)
        first = torch.minimum(first, found)
        if int(first.max()) < num_samples:
            break
    for start in reversed(starts):
        sounding = _sounding(waveform, lengths, start)
        stop = start + sounding.shape[1]
        found = torch.where(sounding.amax(dim=1) > 0, stop - sounding.flip(1).argmax(dim=1), 0)
        end = torch.maximum(end, found)
        if int(end.min()) > 0:
            break
    is_silent = end == 0
    return first.masked_fill(is_silent, 0), torch.where(is_silent, lengths, end)


def _sounding(
    waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"], start: int
) -> UInt8[Tensor, "batch block"]:
    block = waveform[:, start : start + _SEARCHED_AT_ONCE]
    position = start + torch.arange(block.shape[1], device=waveform.device)
    return (_is_sound(block) & (position < lengths[:, None])).to(torch.uint8)


def _is_sound(samples: Float[Tensor, "batch samples"]) -> Bool[Tensor, "batch samples"]:
    # Not `above the level`: NaN is neither, and must not vanish.
    return ~(samples.abs() <= SILENCE_LEVEL)


def _zeros(num_samples: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, num_samples, _MAX_BLOCK):
        yield np.zeros(min(_MAX_BLOCK, num_samples - start), np.float32)
