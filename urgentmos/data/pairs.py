"""Pairs: who may be compared with whom, and which of the two is better.

Two recordings are compared by their MOS labels (UrgentMOS, Eq. 6), or by known strength: of two
versions of one utterance that differ only in how strong their distortion is, the weaker is better.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from urgentmos.data.groups import Groups, Positions
from urgentmos.data.manifest import Pair, Recording
from urgentmos.data.recording import is_known
from urgentmos.ndarray import NDArray

Values = NDArray[np.float64]

Matching = Literal["ref", "corpus", "any", "strength"]
"""Which recordings may form a pair: of the same reference content (within a corpus, where it is
known), of the same corpus, any two, or of the same distortion family (``meta.family``, within a
reference content) at different strengths."""

MATCHINGS: tuple[Matching, ...] = get_args(Matching)

RATING_TOLERANCE = 1e-9
"""Differences closer than this are equal: 2.2 - 1.7 is above 0.5 in binary, and must be a tie."""

STRENGTH_CMOS = 1.0
"""CMOS of a pair known only by strength; natively paired corpora say +1 and -1 in the same way."""


class PairError(ValueError):
    """The recordings cannot be paired as asked."""


def is_graded(cmos: Values) -> bool:
    """Tell scores that say by how much one recording is better from verdicts alone: +1, 0, -1."""
    sizes = np.abs(cmos)
    return len(np.unique(sizes[sizes > RATING_TOLERANCE])) > 1


def preference(cmos: Values, *, delta: float | Values) -> Positions:
    """Turn score differences into preferences (UrgentMOS, Eq. 6).

    The public UrgentMOS code calls +delta and -delta both "A better"; here a difference of exactly
    delta (within `RATING_TOLERANCE`) is a tie, as in the paper, so swapping A and B always mirrors
    the label.

    Args:
        cmos: Score of A minus score of B.
        delta: Largest difference that is a tie.

    Returns:
        +1 where A is better, -1 where B is better, 0 for a tie.
    """
    widest_tie = delta + RATING_TOLERANCE
    return (cmos > widest_tie).astype(np.int64) - (cmos < -widest_tie).astype(np.int64)


@dataclass(frozen=True)
class PairTargets:
    """What is known about pairs of recordings.

    Attributes:
        cmos: Comparison score, positive where A is better; NaN where nothing is known.
        preference: +1, 0, -1 as in `preference`; 0 where nothing is known.
    """

    cmos: Values
    preference: Positions


@dataclass(frozen=True)
class NativePairs:
    """Pairs that listeners rated as pairs; no recording is in two of them.

    Attributes:
        a: Position of each first recording.
        b: Position of each second recording.
        cmos: Comparison score, positive where A is better.
        graded: Whether it says by how much; of verdicts alone none but 0 is a tie.
    """

    a: Positions
    b: Positions
    cmos: Values
    graded: NDArray[np.bool_]


class PairTable:
    """Recordings laid out so that partners and targets are found without listing all pairs.

    Args:
        recordings: The recordings; pairs name them by position.
        delta: Largest MOS difference, or graded comparison score, that is a tie.
        native: Pairs whose members have no other partner, and no other target than their own.

    Attributes:
        leads: Recordings that a partner is drawn for; of a native pair, the first.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        delta: float,
        native: NativePairs | None = None,
    ) -> None:
        self.delta = delta
        self._native_partner = np.full(len(recordings), -1)
        self._native_cmos = np.full(len(recordings), np.nan)
        self._native_tie = np.full(len(recordings), np.nan)
        self.leads: Positions = np.arange(len(recordings))
        if native is not None:
            self._native_partner[native.a], self._native_partner[native.b] = native.b, native.a
            self._native_cmos[native.a], self._native_cmos[native.b] = native.cmos, -native.cmos
            tie = np.where(native.graded, delta, min(delta, STRENGTH_CMOS / 2))
            self._native_tie[native.a] = self._native_tie[native.b] = tie
            self.leads = np.setdiff1d(self.leads, native.b)
        self.mos = np.array([r.metrics.get("mos", np.nan) for r in recordings])
        self.family, self.strength = families(recordings)
        self._file = _number(str(r.audio_path) for r in recordings)
        is_free = self._native_partner < 0
        # A partner that nothing is known of would be heard for nothing.
        rated = is_free & ~np.isnan(self.mos)
        self._groups: dict[Matching, Groups] = {
            matching: Groups(
                np.where(
                    is_free if matching == "strength" else rated,
                    _number(_key(r, matching) for r in recordings),
                    -1,
                )
            )
            for matching in MATCHINGS
        }

    def compare(self, a: Positions, b: Positions) -> PairTargets:
        """Say which of two recordings is better, from their strengths or else their labels.

        Within a family the preference follows the known strength. Its CMOS is the difference of
        the MOS labels where both exist, but never on the wrong side of zero. A native pair has its
        own CMOS, and delta makes no tie of a verdict.
        """
        native = self._native_partner[a] == b
        cmos = np.where(native, self._native_cmos[a], self.mos[a] - self.mos[b])
        by_label = preference(cmos, delta=np.where(native, self._native_tie[a], self.delta))
        # A recording without a family has strength NaN, and so compares with nothing.
        by_strength = np.where(
            self.family[a] == self.family[b], np.sign(self.strength[b] - self.strength[a]), 0.0
        )
        known = np.abs(by_strength) == 1
        agreeing = np.where(np.isnan(cmos), STRENGTH_CMOS, np.maximum(cmos * by_strength, 0.0))
        cmos = np.where(known, by_strength * agreeing, cmos)
        return PairTargets(
            cmos=cmos, preference=np.where(known, np.nan_to_num(by_strength), by_label).astype(int)
        )

    def draw_partners(
        self, weights: Mapping[Matching, float], rng: np.random.Generator
    ) -> Positions:
        """Draw one partner for every recording.

        Args:
            weights: How often each matching is used. Where a recording has no partner in the
                matching it drew, another matching that has one is drawn by the same weights. One
                without a ``mos`` label has partners by ``strength`` alone.
            rng: Source of randomness.

        Returns:
            Position of each recording's partner; -1 where no matching has one.
        """
        num_recordings = len(self.mos)
        names = [name for name in MATCHINGS if weights.get(name, 0.0) > 0]
        chance = np.array([weights[name] for name in names]).reshape(-1, 1)
        available = np.stack(
            [np.broadcast_to(self._groups[name].size_of_each > 1, num_recordings) for name in names]
            or [np.zeros(num_recordings, dtype=bool)]
        )
        # Gumbel's trick: the largest log weight plus Gumbel noise is a draw by weight.
        with np.errstate(divide="ignore"):
            appeal = np.log(np.where(available, chance if names else 0.0, 0.0))
        choice = np.argmax(appeal + rng.gumbel(size=appeal.shape), axis=0)
        partners = np.full(num_recordings, -1)
        for number, name in enumerate(names):
            candidates = self._groups[name].draw_partners(rng)
            chosen = (choice == number) & available[number]
            partners[chosen] = candidates[chosen]
        same_file = (partners >= 0) & (self._file[partners] == self._file)
        partners[same_file] = -1
        return np.where(self._native_partner < 0, partners, self._native_partner)

    def pairs(
        self, matching: Matching, *, ordered: bool, cap: int | None, tie: float, seed: int
    ) -> tuple[Positions, Positions]:
        """List pairs of one matching that have a label, at most ``cap``, drawn at random."""
        groups = self._groups[matching]
        total = groups.num_pairs(ordered=ordered)
        rng = np.random.default_rng(seed)
        kept = np.empty(0, dtype=np.int64)
        seen = kept
        # Far more pairs than wanted: draw numbers of pairs instead of listing them all.
        while cap is not None and len(kept) < cap and total > 4 * max(cap, len(seen)):
            # More and more: where few pairs are valid, each round costs as much as all before it.
            drawn = np.setdiff1d(rng.integers(total, size=max(2 * cap, len(seen))), seen)
            seen = np.union1d(seen, drawn)
            rng.shuffle(drawn)
            valid = self._valid(*groups.pair(drawn, ordered=ordered), matching=matching, tie=tie)
            kept = np.concatenate([kept, drawn[valid]])
        if cap is None or len(kept) < cap:
            kept = np.arange(total)
            valid = self._valid(*groups.pair(kept, ordered=ordered), matching=matching, tie=tie)
            kept = kept[valid]
            if cap is not None and len(kept) > cap:
                kept = rng.choice(kept, size=cap, replace=False)
        return groups.pair(np.sort(kept[:cap]), ordered=ordered)

    def _valid(
        self,
        a: Positions,
        b: Positions,
        *,
        matching: Matching,
        tie: float,
    ) -> NDArray[np.bool_]:
        valid: NDArray[np.bool_] = self._file[a] != self._file[b]
        if matching == "strength":
            valid &= self.strength[a] != self.strength[b]
        else:
            valid &= np.abs(self.mos[a] - self.mos[b]) > tie + RATING_TOLERANCE
        return valid


def make_pairs(
    recordings: Sequence[Recording],
    *,
    matching: Matching,
    ordered: bool = False,
    cap: int | None = None,
    drop_ties_within: float | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Make pairs with their CMOS from rated recordings.

    A recording is never paired with its own file; recordings without a ``mos`` label are left out,
    except from ``strength`` pairs, whose CMOS is then +1 or -1. Large sets are sampled without
    listing all pairs.

    Args:
        recordings: Rated recordings.
        matching: Which of them may be compared.
        ordered: Also the pair (B, A) for each (A, B).
        cap: Largest number of pairs; beyond it they are drawn at random.
        drop_ties_within: Leave out pairs whose MOS differ by no more; None keeps every pair.
            It does not touch ``strength`` pairs, whose order is known.
        seed: Seed of the draw.

    Returns:
        Pairs in the order of the recordings.

    Raises:
        PairError: No two recordings can be paired this way.
    """
    if matching not in MATCHINGS:
        raise PairError(f"unknown matching {matching!r}; known: {', '.join(MATCHINGS)}")
    table = PairTable(recordings, delta=0.0)
    tie = -1.0 if drop_ties_within is None else drop_ties_within
    a, b = table.pairs(matching, ordered=ordered, cap=cap, tie=tie, seed=seed)
    if len(a) == 0:
        raise PairError(_why_no_pairs(recordings, matching, drop_ties_within))
    cmos = table.compare(a, b).cmos if matching == "strength" else table.mos[a] - table.mos[b]
    return [
        Pair(
            a=recordings[i].audio_path,
            b=recordings[j].audio_path,
            cmos=float(value),
            durations=(recordings[i].duration, recordings[j].duration),
        )
        for i, j, value in zip(a, b, cmos, strict=True)
    ]


def cap_pairs(
    pairs: Sequence[Pair], *, cap: int | None, drop_ties_within: float | None, seed: int
) -> list[Pair]:
    """Choose among natively paired recordings, with the rules of `make_pairs`."""
    tie = -1.0 if drop_ties_within is None else drop_ties_within
    kept = [pair for pair in pairs if abs(pair.cmos) > tie + RATING_TOLERANCE]
    if cap is None or len(kept) <= cap:
        return kept
    chosen = np.random.default_rng(seed).choice(len(kept), size=cap, replace=False)
    return [kept[i] for i in np.sort(chosen)]


def families(recordings: Sequence[Recording]) -> tuple[Positions, Values]:
    """Tell which recordings differ in strength alone, and their strengths.

    Returns:
        Number of each recording's family, in the order in which they come, whatever the manifests
        call them, and -1 where it has none; strengths, NaN where there is none.

    Raises:
        PairError: A strength is no number.
    """
    strengths = np.array([_strength(recording) for recording in recordings])
    return _number(_key(recording, "strength") for recording in recordings), strengths


def _strength(recording: Recording) -> float:
    if recording.meta.get("family") is None:
        return float("nan")
    strength = recording.meta.get("strength")
    if isinstance(strength, bool) or not isinstance(strength, int | float | None):
        raise PairError(
            f"recording {recording.uid!r}: meta.strength: expected a number, got {strength!r}"
        )
    return float("nan") if strength is None else float(strength)


def _key(recording: Recording, matching: Matching) -> Hashable | None:
    corpus = recording.meta.get("corpus")
    if matching == "ref":
        return (corpus, recording.reference_id) if is_known(recording.reference_id) else None
    if matching == "corpus":
        return (corpus,)
    if matching == "any":
        return True
    family = recording.meta.get("family")
    if family is None or recording.meta.get("strength") is None:
        return None
    # Families of other corpora and simulations may have the same name, as numbers do.
    return (corpus, recording.reference_id, str(family), *_steps(recording))


def _steps(recording: Recording) -> Iterator[tuple[str, str]]:
    """Kind and seed of each simulated distortion: what the versions of a family share."""
    distortions = recording.meta.get("distortions")
    for step in distortions if isinstance(distortions, list) else []:
        if isinstance(step, dict):
            yield str(step.get("kind")), str(step.get("seed"))


def _number(keys: Iterable[Hashable | None]) -> Positions:
    number_by_key: dict[Hashable, int] = {}
    return np.array(
        [-1 if key is None else number_by_key.setdefault(key, len(number_by_key)) for key in keys],
        dtype=np.int64,
    )


def _why_no_pairs(
    recordings: Sequence[Recording], matching: Matching, drop_ties_within: float | None
) -> str:
    rated = sum("mos" in recording.metrics for recording in recordings)
    families = sum(recording.meta.get("family") is not None for recording in recordings)
    return (
        f"no pairs by {matching!r}: of {len(recordings)} recordings {rated} have a 'mos' label and "
        f"{families} a meta.family; a pair needs two "
        + {
            "ref": "with the same reference_id, other than '-', and meta.corpus",
            "corpus": "with the same meta.corpus",
            "any": "of different files",
            "strength": "with the same meta.family, reference_id and meta.corpus, and different "
            "meta.strength",
        }[matching]
        + ("" if drop_ties_within is None else f", and MOS more than {drop_ties_within:g} apart")
    )
