"""Encoders that mix padding into features, run on recordings of one length at a time."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from urgentmos.model.encoders.encoder import EncoderOutput

EncodeUnpadded = Callable[[Tensor], Tensor]
"""``(batch, samples)``, all real, to ``(batch, layers, frames, dim)``."""


def encode_in_equal_lengths(
    encode: EncodeUnpadded,
    waveform: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
) -> EncoderOutput:
    """Encode recordings without any padding, those of one length together.

    The library then sees each recording as it is alone. The cost: recordings of different lengths
    do not share a batch, so on a GPU a batch of them takes as many passes as it has lengths.

    Args:
        encode: Encodes recordings of one length.
        waveform: Zero beyond each recording's length.
        lengths: Samples of each recording.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    for samples in sorted(set(lengths.tolist())):
        rows = (lengths == samples).nonzero().squeeze(1)
        parts.append((rows, encode(waveform[rows, :samples])))
    frames = max(states.shape[2] for _, states in parts)
    padded = [functional.pad(states, (0, 0, 0, frames - states.shape[2])) for _, states in parts]
    order = torch.cat([rows for rows, _ in parts]).argsort()
    counts = [torch.full_like(rows, states.shape[2]) for rows, states in parts]
    return EncoderOutput(torch.cat(padded)[order], torch.cat(counts)[order])
