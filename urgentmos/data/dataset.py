"""Batches of waveforms and labels, made from plans."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from urgentmos.data.features import FeatureStore, StoredStates
from urgentmos.data.manifest import Recording
from urgentmos.data.pairs import PairTable
from urgentmos.data.references import References
from urgentmos.data.sampler import BatchPlan, Progress
from urgentmos.data.waveforms import Waveforms, read_padded
from urgentmos.ndarray import NDArray


class Batch(NamedTuple):
    """Recordings with their labels, and the pairs among them.

    Attributes:
        waveform: Padded with zeros.
        lengths: Real samples of each recording.
        labels: One column per metric; NaN where there is no label.
        pairs: Rows (A, B) that index the recordings.
        cmos: Comparison score of each pair; NaN where it is unknown.
        preference: +1 A better, 0 tie, -1 B better; 0 where it is unknown.
        label_counts: Labels of each metric in the global batch: all batches of the step.
        pair_count: Pairs with a target in the global batch.
        decided_count: Those of them that are not exact ties.
        after: Progress once this batch is used.
        encoded: Hidden states of frozen encoders, by the encoder's number.
        teacher: Hidden states to learn.
        reference: Clean references, cut as the recordings are; a row of zeros is none.
        corpora: Number of each recording's corpus.
        weighted: False for a process's copy of a recording that another has, of which no loss may
            come.
    """

    waveform: Float[Tensor, "batch samples"]
    lengths: Int[Tensor, " batch"]
    labels: Float[Tensor, "batch metrics"]
    pairs: Int[Tensor, "pairs 2"]
    cmos: Float[Tensor, " pairs"]
    preference: Int[Tensor, " pairs"]
    label_counts: Float[Tensor, " metrics"]
    pair_count: Float[Tensor, ""]
    decided_count: Float[Tensor, ""]
    after: Progress
    encoded: Mapping[int, StoredStates] = MappingProxyType({})
    teacher: StoredStates | None = None
    reference: Float[Tensor, "batch samples"] | None = None
    corpora: Int[Tensor, " batch"] | None = None
    weighted: bool = True

    def to(self, device: torch.device) -> "Batch":
        """Move the tensors to a device."""
        moved = Batch._make(
            part.to(device, non_blocking=True) if isinstance(part, Tensor) else part
            for part in self
        )
        return moved._replace(
            encoded={index: states.to(device) for index, states in self.encoded.items()},
            teacher=None if self.teacher is None else self.teacher.to(device),
        )


class BatchDataset(Dataset[Batch]):
    """Turn a `BatchPlan` into a `Batch`: ``dataset[plan]``.

    Args:
        waveforms: Where the recordings come from.
        labels: One row per recording, one column per metric, NaN where there is none.
        table: Gives the targets of pairs; None where no pair is ever planned.
        encoded: Stores of frozen encoders, by the encoder's number.
        teacher: Store of the hidden states to learn; None without a teacher.
        references: Clean references; None where batches are to have none.
        corpora: Number of each recording's corpus, where batches are to say it.
    """

    def __init__(
        self,
        waveforms: Waveforms,
        labels: NDArray[np.float32],
        *,
        table: PairTable | None = None,
        encoded: Mapping[int, FeatureStore] = MappingProxyType({}),
        teacher: FeatureStore | None = None,
        references: References | None = None,
        corpora: NDArray[np.int64] | None = None,
    ) -> None:
        self._waveforms = waveforms
        self._labels = labels
        self._table = table
        self._encoded = encoded
        self._teacher = teacher
        self._references = references
        self._corpora = corpora

    def __getitem__(self, plan: BatchPlan) -> Batch:
        """Read the audio and look up the labels of one batch."""
        waveform = read_padded(
            self._waveforms, plan.recordings, starts=plan.starts, lengths=plan.lengths
        )
        waveform[plan.inverted] *= -1
        labels = self._labels[plan.recordings]
        cmos, preference = self._targets(plan.recordings[plan.pairs])
        if not plan.weighted:
            labels, cmos = np.full_like(labels, np.nan), np.full_like(cmos, np.nan)
        label_counts = (~np.isnan(self._labels[plan.all_recordings])).sum(axis=0)
        all_cmos, all_preference = self._targets(plan.all_pairs)
        known = ~np.isnan(all_cmos)
        decided = known & ((all_cmos != 0) | (all_preference != 0))
        whole = self._waveforms.lengths[plan.recordings]
        spans = np.stack([plan.starts, plan.starts + plan.lengths], axis=1) / whole[:, None]
        return Batch(
            waveform=torch.from_numpy(waveform),
            lengths=torch.from_numpy(plan.lengths),
            labels=torch.from_numpy(labels),
            pairs=torch.from_numpy(plan.pairs),
            cmos=torch.from_numpy(cmos.astype(np.float32)),
            preference=torch.from_numpy(preference),
            label_counts=torch.from_numpy(label_counts.astype(np.float32)),
            pair_count=torch.tensor(float(known.sum())),
            decided_count=torch.tensor(float(decided.sum())),
            after=plan.after,
            encoded={i: store.read(plan.recordings, spans) for i, store in self._encoded.items()},
            teacher=None if self._teacher is None else self._teacher.read(plan.recordings, spans),
            reference=self._read_references(plan),
            corpora=(
                None if self._corpora is None else torch.from_numpy(self._corpora[plan.recordings])
            ),
            weighted=plan.weighted,
        )

    def _read_references(self, plan: BatchPlan) -> Tensor | None:
        if self._references is None:
            return None
        return torch.from_numpy(
            self._references.read(plan.recordings, starts=plan.starts, lengths=plan.lengths)
        )

    def _targets(self, pairs: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if self._table is None:
            return np.full(len(pairs), np.nan), np.zeros(len(pairs), dtype=np.int64)
        targets = self._table.compare(pairs[:, 0], pairs[:, 1])
        return targets.cmos, targets.preference


def label_matrix(recordings: Sequence[Recording], metrics: Sequence[str]) -> NDArray[np.float32]:
    """Lay labels out as one row per recording and one column per metric, NaN where missing."""
    rows = [[recording.metrics.get(name, np.nan) for name in metrics] for recording in recordings]
    return np.array(rows, dtype=np.float32).reshape(len(recordings), len(metrics))
