"""What a corpus adds to its ratings: learned beside the network, and left out of its scores.

Listeners, instructions and the company of the other recordings move the ratings of a whole test.
MBNet (Leng et al. 2021, https://arxiv.org/abs/2103.00110) learns what each listener adds to the
mean rating; here each corpus has one offset. As with the mean listener of LDNet (Huang et al. 2022,
https://arxiv.org/abs/2110.09103), a score is what the average corpus would give: the offsets are 0
on average over the training recordings, and a saved model has none.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from urgentmos.data.manifest import Recording
from urgentmos.ndarray import NDArray


class CorpusBias(nn.Module):
    """One offset of the ``mos`` labels per corpus.

    An offset cannot be told from a corpus that is better or worse as a whole; only recordings of
    like quality in several corpora, and the penalty, keep the two apart.

    Args:
        num_rated: Training recordings with a ``mos`` label, by corpus.
    """

    shares: Tensor

    def __init__(self, num_rated: Float[Tensor, " corpora"]) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.zeros_like(num_rated))
        self.register_buffer("shares", num_rated / num_rated.sum(), persistent=False)

    def offsets(self) -> Float[Tensor, " corpora"]:
        """What each corpus adds to a score, in MOS points; 0 on average over the recordings."""
        return self.raw - self.shares @ self.raw

    def penalty(self) -> Float[Tensor, ""]:
        """Mean square of the offsets: a small corpus must say more than a large one to have one."""
        return self.offsets().square().mean()


def number_corpora(recordings: Sequence[Recording]) -> tuple[list[str], NDArray[np.int64]]:
    """Number the corpora (``meta.corpus``) in order of first appearance.

    Returns:
        Their names, and the number of each recording's corpus.
    """
    corpora = [str(recording.meta.get("corpus")) for recording in recordings]
    names = list(dict.fromkeys(corpora))
    number = {name: index for index, name in enumerate(names)}
    return names, np.array([number[name] for name in corpora], dtype=np.int64)


def build_corpus_bias(recordings: Sequence[Recording]) -> CorpusBias:
    """Make offsets of 0 for the corpora of some recordings."""
    names, corpora = number_corpora(recordings)
    is_rated = ["mos" in recording.metrics for recording in recordings]
    num_rated = np.bincount(corpora, weights=is_rated, minlength=len(names))
    return CorpusBias(torch.from_numpy(num_rated.astype(np.float32)))
