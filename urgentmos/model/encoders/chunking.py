"""Recordings longer than an encoder can hear at once: cut, encode, put back in time."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from urgentmos.masks import divide_up, lengths_to_mask


class Chunks(NamedTuple):
    """Pieces of a batch, the pieces of a recording one after the other.

    Attributes:
        waveform: Zero beyond each piece's length.
        lengths: Samples of each piece.
        starts: Where each piece starts in its recording, in frames.
        first: Row of each recording's first piece.
    """

    waveform: Float[Tensor, "chunks samples"]
    lengths: Int[Tensor, " chunks"]
    starts: Int[Tensor, " chunks"]
    first: Int[Tensor, " batch"]


def cut(
    waveform: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
    *,
    chunk_samples: int,
    frame_samples: int,
) -> Chunks:
    """Cut recordings into pieces that an encoder can hear at once.

    Pieces follow each other without overlap, except the last: it ends with the recording (to the
    next whole frame), so that a short remainder is heard with what came before it, not with
    silence after it::

        recording  |=====================================|
        pieces     |----- 0 -----|----- 1 -----|
                                 |----- 2 -----|  would leave silence after the end
                            |----- 2 -----|          so it starts earlier

    Args:
        waveform: Zero beyond each recording's length.
        lengths: Samples of each recording.
        chunk_samples: Longest piece, a multiple of ``frame_samples``.
        frame_samples: Samples between the encoder's frames.
    """
    if waveform.shape[1] <= chunk_samples:
        rows = torch.arange(len(lengths), device=lengths.device)
        return Chunks(waveform, lengths, torch.zeros_like(lengths), rows)
    counts = divide_up(lengths, chunk_samples)
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), counts)
    first = counts.cumsum(0) - counts
    number = torch.arange(len(owner), device=lengths.device) - first[owner]
    # Of the last piece, if it is not the only one.
    latest = divide_up((lengths - chunk_samples).clamp_min(0), frame_samples)[owner]
    starts = torch.minimum(number * (chunk_samples // frame_samples), latest)
    chunk_lengths = (lengths[owner] - starts * frame_samples).clamp_max(chunk_samples)
    samples = torch.arange(int(chunk_lengths.max()), device=lengths.device)
    index = (starts * frame_samples)[:, None] + samples
    pieces = waveform[owner[:, None], index.clamp_max(waveform.shape[1] - 1)]
    mask = lengths_to_mask(chunk_lengths, len(samples))
    return Chunks(pieces.masked_fill(~mask, 0.0), chunk_lengths, starts, first)


def join(
    hidden_states: Float[Tensor, "chunks layers chunk_frames dim"],
    chunks: Chunks,
    lengths: Int[Tensor, " batch"],
    *,
    chunk_frames: int,
) -> Float[Tensor, "batch layers frames dim"]:
    """Put the frames of each recording's pieces back in time.

    Args:
        hidden_states: What the encoder gave for each piece.
        chunks: The pieces.
        lengths: Frames of each whole recording; what lies beyond repeats its last frame.
        chunk_frames: Frames of a full piece.
    """
    if len(hidden_states) == len(lengths):
        return hidden_states[:, :, : int(lengths.max())]
    frames = torch.arange(int(lengths.max()), device=lengths.device)
    frames = torch.minimum(frames, (lengths - 1)[:, None])
    rows = chunks.first[:, None] + frames // chunk_frames
    inside = frames - chunks.starts[rows]
    return hidden_states[rows, :, inside].transpose(1, 2)


def mean_over_chunks(scores: Float[Tensor, " chunks"], chunks: Chunks) -> Float[Tensor, " batch"]:
    """Average over the pieces of each recording.

    Args:
        scores: One of each piece.
        chunks: The pieces.
    """
    counts = torch.diff(chunks.first, append=chunks.first.new_tensor([len(scores)]))
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    totals = torch.zeros_like(counts, dtype=scores.dtype).index_add(0, owner, scores)
    return totals / counts
