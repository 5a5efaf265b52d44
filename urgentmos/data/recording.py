"""A recording, and a pair of them, with what is known about it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_UNKNOWN = frozenset({"", "-", "unknown"})


def is_known(name: str) -> bool:
    """Say whether a system, content or speaker has a name: ``-`` stands where it has none."""
    return name not in _UNKNOWN


@dataclass
class Recording:
    """One recording and what is known about it.

    Attributes:
        audio_path: The audio file.
        uid: Unique within a manifest; ``system:reference`` in the public ones.
        system_id: What made the recording: an enhancement system, a synthesiser, a condition.
        reference_id: What is said: equal for recordings of the same content.
        duration: Length (s).
        metrics: Label of each metric that has one; a missing label has no key.
        meta: Anything else. ``reference_path`` (the clean reference), ``corpus``, ``split``,
            ``family`` and ``strength`` have a meaning to pairs and training.
    """

    audio_path: Path
    uid: str
    system_id: str
    reference_id: str
    duration: float
    metrics: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two recordings and which of them listeners prefer.

    Attributes:
        a: First audio file.
        b: Second audio file.
        cmos: Comparison score, positive where A is better; +1, -1 and 0 where only the verdict is
            known.
        durations: Lengths of A and B (s).
    """

    a: Path
    b: Path
    cmos: float
    durations: tuple[float, float]
