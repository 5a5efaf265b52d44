"""Pairs of files to preferences.

Recordings of up to ``WINDOW_S`` are compared as a whole. Longer ones are cut as for scoring; where
one recording has more windows than the other, windows of the other are repeated in place, so that
like parts in time meet. Probabilities and CMOS are means over these meetings, each weighted by the
time that its two windows stand for. The order of the two makes no difference but the sign.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from urgentmos.model.assessor import Assessor, Preference, average_preferences
from urgentmos.scoring.inference import MODEL_FAILURES, WindowScorer
from urgentmos.scoring.provenance import model_id
from urgentmos.scoring.recording import Decoded, Recording, check_workers, decode_recordings
from urgentmos.scoring.row import Value
from urgentmos.verdict import Verdict
from urgentmos.windows import Window, combine_scores, in_step

COMPARISON_COLUMNS: dict[str, type] = {
    "a": str,
    "b": str,
    "status": str,
    "error": str,
    "verdict": str,
    "p_a": float,
    "p_tie": float,
    "p_b": float,
    "cmos": float,
    "mos_a": float,
    "mos_b": float,
    "flags_a": str,
    "flags_b": str,
    "model": str,
}
"""Columns of a table of comparisons, with the type of their values."""

_DECIMALS = 5
# Windows that the decoder keeps of every recording; longer ones are decoded a second time.
_FEW = 2


@dataclass(frozen=True)
class Comparison:
    """The result for one pair.

    Attributes:
        a: Path of A.
        b: Path of B.
        status: ``ok`` or ``failed``.
        error: Why it failed, with the recording to blame; empty when it did not.
        preference: None when it failed.
        mos_a: MOS of A; None when it failed or the model does not predict it.
        mos_b: MOS of B; the same.
        flags_a: Flags of A, see ``Row.flags``.
        flags_b: Flags of B.
        model: ``hash+version``.
    """

    a: str
    b: str
    status: Literal["ok", "failed"]
    error: str
    preference: Preference | None
    mos_a: float | None
    mos_b: float | None
    flags_a: tuple[str, ...]
    flags_b: tuple[str, ...]
    model: str

    @property
    def verdict(self) -> Verdict | None:
        """Who is better; None when it failed."""
        return None if self.preference is None else self.preference.verdict

    def to_record(self) -> dict[str, Value]:
        """Flatten to one value per column of ``COMPARISON_COLUMNS``."""
        preference = self.preference
        numbers = {
            "p_a": None if preference is None else preference.p_a,
            "p_tie": None if preference is None else preference.p_tie,
            "p_b": None if preference is None else preference.p_b,
            "cmos": None if preference is None else preference.cmos,
            "mos_a": self.mos_a,
            "mos_b": self.mos_b,
        }
        rounded = {
            name: None if value is None else round(value, _DECIMALS)
            for name, value in numbers.items()
        }
        return {
            "a": self.a,
            "b": self.b,
            "status": self.status,
            "error": self.error,
            "verdict": self.verdict or "",
            **rounded,
            "flags_a": " ".join(self.flags_a),
            "flags_b": " ".join(self.flags_b),
            "model": self.model,
        }


def compare_files(
    assessor: Assessor,
    pairs: Sequence[tuple[str | os.PathLike[str], str | os.PathLike[str]]],
    *,
    workers: int = 2,
) -> Iterator[Comparison]:
    """Compare pairs of files: one result each, in order, as they are done.

    A pair that cannot be read or compared gives a failed result with the reason.

    Args:
        assessor: Model with a preference head; with another, every pair fails.
        pairs: Paths of A and B.
        workers: Threads that decode ahead of the model; 0 for none.

    Raises:
        TypeError: ``workers`` is no whole number.
        ValueError: It is below 0.
    """
    check_workers(workers)
    comparer = _Comparer(assessor)
    decoded = decode_recordings(
        itertools.chain.from_iterable(pairs), sample_rate=assessor.sample_rate, workers=workers
    )
    return (comparer.compare(a, b) for a, b in zip(decoded, decoded, strict=True))


class _Comparer:
    """Compares two recordings, whatever their lengths."""

    def __init__(self, assessor: Assessor) -> None:
        self._assessor = assessor
        self._metrics = [metric for metric in ("mos",) if metric in assessor.metrics]
        # One window at a time: a pair is all that is held.
        self._scorer = WindowScorer(assessor, self._metrics, batch_seconds=1.0)
        self._model = model_id(assessor)

    def compare(self, decoded_a: Decoded, decoded_b: Decoded) -> Comparison:
        rate = self._assessor.sample_rate
        side_a = _Side(decoded_a, self._scorer, sample_rate=rate)
        side_b = _Side(decoded_b, self._scorer, sample_rate=rate)
        a, b = side_a.recording, side_b.recording
        errors = [f"{name}: {side.error}" for name, side in (("A", a), ("B", b)) if side.error]
        preference = None
        if not errors:
            try:
                preference = self._meet(side_a, side_b)
            except MODEL_FAILURES as error:
                errors = [f"the model failed: {error}"]
        return Comparison(
            a=a.path,
            b=b.path,
            status="failed" if errors else "ok",
            error="; ".join(errors),
            preference=preference,
            mos_a=None if errors else side_a.mos,
            mos_b=None if errors else side_b.mos,
            flags_a=a.flags,
            flags_b=b.flags,
            model=self._model,
        )

    def _meet(self, a: "_Side", b: "_Side") -> Preference:
        num_steps = max(a.num_windows, b.num_windows)
        rate = self._assessor.sample_rate
        preferences: list[Preference] = []
        weights_s: list[float] = []
        for window_a, window_b in zip(a.in_step(num_steps), b.in_step(num_steps), strict=True):
            preferences.append(self._assessor.compare(window_a.waveform, window_b.waveform, rate))
            weights_s.append((window_a.weight_s + window_b.weight_s) / 2)
        return average_preferences(preferences, weights_s)


class _Side:
    """One of two recordings: its windows in step with the other's, its MOS on the way."""

    def __init__(self, decoded: Decoded, scorer: WindowScorer, *, sample_rate: int) -> None:
        self.recording, windows = decoded
        self._scorer = scorer
        self._weights_s: list[float] = []
        self._scores: list[dict[str, float]] = []
        first = list(itertools.islice(windows, _FEW))
        rest = sum(1 for _ in windows)
        self.num_windows = len(first) + rest
        again = Recording(self.recording.path).windows(sample_rate=sample_rate)
        self._windows: Iterator[Window] = again if rest else iter(first)

    @property
    def mos(self) -> float | None:
        """MOS of the windows gone through."""
        return combine_scores(self._scores, self._weights_s).get("mos")

    def in_step(self, num_steps: int) -> Iterator[Window]:
        """Go through the windows in ``num_steps`` steps, scoring each when it is first met."""
        return in_step(
            map(self._scored, self._windows), num_windows=self.num_windows, num_steps=num_steps
        )

    def _scored(self, window: Window) -> Window:
        (result,) = self._scorer.score([window])
        if isinstance(result, str):
            raise ValueError(result)
        self._weights_s.append(window.weight_s)
        self._scores.append(result)
        return window
