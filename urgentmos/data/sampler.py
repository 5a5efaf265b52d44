"""Which recordings share a batch, and which part of each is heard.

Batches are bounded by padded seconds, partners counted: ``recordings x longest <= bound``. Like
lengths go together, so little of it is padding. Everything follows from (seed, epoch): the number
of workers changes nothing, and a run resumes from (epoch, batch).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from urgentmos.data.groups import Positions
from urgentmos.data.hashing import scramble
from urgentmos.data.pairs import Matching, PairTable
from urgentmos.name_bytes import name_bytes
from urgentmos.ndarray import NDArray

# Lengths within one bucket (6 %) are in random order; batches are cut along the buckets.
_BUCKET_RATIO = 1.06


class Progress(NamedTuple):
    """Where a run stands in its data.

    Attributes:
        epoch: Times all recordings have been visited.
        batch: Batches already used of this epoch.
    """

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Window:
    """How much of a recording is heard in one epoch.

    Attributes:
        max_samples: Longest part; what is longer is cut to a random window.
        min_samples: Shortest part; a shorter recording is heard whole.
        min_share: Smallest share of a recording; 1 hears all of it.
    """

    max_samples: int
    min_samples: int = 1
    min_share: float = 1.0


@dataclass(frozen=True)
class BatchPlan:
    """One batch of one process, before anything is decoded.

    Attributes:
        recordings: Positions of the recordings.
        starts: First sample of each part.
        lengths: Samples of each part.
        inverted: Whether each is heard with the opposite polarity.
        pairs: Rows (A, B) that index ``recordings``.
        all_recordings: Positions of the recordings of the same step, in all its batches and all
            processes; a loss that is a mean over the global batch divides by what is labelled among
            these.
        all_pairs: Rows (A, B) of positions of recordings, of the same step in all processes.
        weighted: False on a recording that only keeps a process busy in a step with fewer
            recordings than processes; it must not count.
        after: Progress once this batch is used.
    """

    recordings: Positions
    starts: Positions
    lengths: Positions
    inverted: NDArray[np.bool_]
    pairs: Positions
    all_recordings: Positions
    all_pairs: Positions
    weighted: bool
    after: Progress


class BatchSampler:
    """Plan batches in which every recording leads once per epoch, beside its partner.

    Of a native pair only the first recording leads.

    Args:
        lengths: Samples of each recording.
        uids: Its name; decides its random window, whatever else is in the manifest.
        batch_samples: Bound on padded samples per process.
        window: Part of each recording that is heard.
        seed: Seed of order, partners, windows and polarity.
        inverted_share: Share of recordings heard with the opposite polarity, others in every epoch;
            the two of a pair have the same.
        table: Draws partners; None makes batches without pairs.
        matching: Weight of each pair matching.
        rank: This process.
        num_ranks: Processes that share each step.
        accumulate: Batches of each step, of every process.

    Raises:
        ValueError: Two recordings of the longest part do not fit the bound.
    """

    def __init__(
        self,
        lengths: Positions,
        uids: Sequence[str],
        *,
        batch_samples: int,
        window: Window,
        seed: int,
        inverted_share: float = 0.0,
        table: PairTable | None = None,
        matching: dict[Matching, float] | None = None,
        rank: int = 0,
        num_ranks: int = 1,
        accumulate: int = 1,
    ) -> None:
        if 2 * window.max_samples > batch_samples:
            raise ValueError(
                f"a batch of {batch_samples} samples cannot hold two recordings of up to "
                f"{window.max_samples}; raise the batch bound or lower the longest part"
            )
        self._lengths = lengths
        self._batch_samples = batch_samples
        self._window = window
        self._seed = seed
        self._inverted_share = inverted_share
        self._table = table
        self._matching = matching or {}
        self._rank = rank
        self._num_ranks = num_ranks
        self._accumulate = accumulate
        digests = (hashlib.blake2b(name_bytes(uid), digest_size=8).digest() for uid in uids)
        self._hashes = np.frombuffer(b"".join(digests), dtype=np.uint64)

    def plans(self, start: Progress = Progress()) -> Iterator[BatchPlan]:  # noqa: B008
        """Plan batches without end, from a given progress on, with which a step begins."""
        batches = self._batches(start)
        while True:
            step = list(islice(batches, self._accumulate))
            recordings, pairs = zip(
                *(_positions(draw, leads) for draw, leads, _ in step), strict=True
            )
            for draw, leads, after in step:
                yield self._plan(
                    draw,
                    leads,
                    all_recordings=np.concatenate(recordings),
                    all_pairs=np.concatenate(pairs),
                    after=after,
                )

    def _batches(self, start: Progress) -> Iterator[tuple["_EpochDraw", Positions, Progress]]:
        """Give the leads of each batch, and the progress once it is used."""
        epoch, batch = start
        while True:
            draw = self._draw(epoch)
            for number in range(batch, len(draw.batches)):
                last = number + 1 == len(draw.batches)
                after = Progress(epoch + 1, 0) if last else Progress(epoch, number + 1)
                yield draw, draw.batches[number], after
            epoch, batch = epoch + 1, 0

    def _draw(self, epoch: int) -> "_EpochDraw":
        rng = np.random.default_rng([self._seed, epoch])
        num_recordings = len(self._lengths)
        partners = np.full(num_recordings, -1)
        if self._table is not None:
            partners = self._table.draw_partners(self._matching, rng)
        salts = np.random.SeedSequence([self._seed, epoch]).generate_state(3, np.uint64)
        share, place, sign = (_uniform(self._hashes ^ salt) for salt in salts)
        leads = np.arange(num_recordings)
        longest = self._parts(leads, share)
        paired = partners >= 0
        # The pair hears the same share, so that partners of one length need no padding.
        longest[paired] = np.maximum(longest[paired], self._parts(partners[paired], share[paired]))
        bucket = np.floor(np.log(longest) / np.log(_BUCKET_RATIO)).astype(np.int64)
        order = rng.permutation(leads if self._table is None else self._table.leads)
        order = order[np.argsort(bucket[order], kind="stable")]
        batches = self._cut(order, longest=longest, sizes=1 + paired)
        shuffled = [batches[i] for i in rng.permutation(len(batches))]
        return _EpochDraw(
            partners=partners,
            share=share,
            place=place,
            inverted=sign < self._inverted_share,
            batches=shuffled,
        )

    def _cut(self, order: Positions, *, longest: Positions, sizes: Positions) -> list[Positions]:
        """Cut the order into batches; the leads of a batch are dealt to the processes in turn."""
        batches: list[Positions] = []
        begin, padded, held = 0, 0, [0] * self._num_ranks
        for end, (length, size) in enumerate(
            zip(longest[order].tolist(), sizes[order].tolist(), strict=True)
        ):
            turn = (end - begin) % self._num_ranks
            held[turn] += size
            if max(padded, length) * max(held) > self._batch_samples:
                batches.append(order[begin:end])
                begin, padded, held = end, 0, [0] * self._num_ranks
                held[0] = size
            padded = max(padded, length)
        batches.append(order[begin:])
        return batches

    def _plan(
        self,
        draw: "_EpochDraw",
        leads: Positions,
        *,
        all_recordings: Positions,
        all_pairs: Positions,
        after: Progress,
    ) -> BatchPlan:
        mine = leads[self._rank :: self._num_ranks]
        weighted = len(mine) > 0
        if not weighted:
            mine = leads[:1]
        partners = draw.partners[mine]
        paired = np.flatnonzero(partners >= 0)
        recordings = np.concatenate([mine, partners[paired]])
        by_lead = np.concatenate([mine, mine[paired]])
        parts = self._parts(recordings, draw.share[by_lead])
        starts = np.floor(draw.place[by_lead] * (self._lengths[recordings] - parts + 1))
        partner_rows = len(mine) + np.arange(len(paired))
        return BatchPlan(
            recordings=recordings,
            starts=starts.astype(np.int64),
            lengths=parts,
            inverted=draw.inverted[by_lead],
            pairs=np.stack([paired, partner_rows], axis=1),
            all_recordings=all_recordings,
            all_pairs=all_pairs,
            weighted=weighted,
            after=after,
        )

    def _parts(self, recordings: Positions, share: NDArray[np.float64]) -> Positions:
        """Samples heard of each recording, given its uniform draw."""
        window = self._window
        whole = np.minimum(self._lengths[recordings], window.max_samples)
        part = np.rint(whole * (window.min_share + (1 - window.min_share) * share))
        parts: Positions = np.clip(part, np.minimum(whole, window.min_samples), whole)
        return np.maximum(parts, 1).astype(np.int64)


def plan_whole_recordings(lengths: Positions, *, batch_samples: int) -> list[Positions]:
    """Plan batches of whole recordings of like length, each once, for validation.

    A recording longer than the bound gets a batch of its own.
    """
    batches: list[Positions] = []
    order = np.argsort(lengths, kind="stable")
    begin = 0
    for end in range(1, len(order) + 1):
        full = end == len(order) or lengths[order[end]] * (end + 1 - begin) > batch_samples
        if full:
            batches.append(order[begin:end])
            begin = end
    return batches


@dataclass(frozen=True)
class _EpochDraw:
    partners: Positions
    share: NDArray[np.float64]
    place: NDArray[np.float64]
    inverted: NDArray[np.bool_]
    batches: list[Positions]


def _positions(draw: _EpochDraw, leads: Positions) -> tuple[Positions, Positions]:
    """Positions of a batch's recordings, and of its pairs, in all processes."""
    paired = leads[draw.partners[leads] >= 0]
    partners = draw.partners[paired]
    return np.concatenate([leads, partners]), np.stack([paired, partners], axis=1)


def _uniform(state: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Scramble 64-bit states into uniform numbers in [0, 1)."""
    return (scramble(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53
