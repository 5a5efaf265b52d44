"""What a recipe says of a corpus: its rows, its published counts, and what cannot be used."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIVE_POINT = (1.0, 5.0)
NO_SYSTEM = "-"
"""System of recordings whose corpus names none."""


@dataclass(frozen=True)
class RatedFile:
    """One recording, or one vote on it, as a table of the corpus has it.

    Attributes:
        path: The audio file.
        system: What made it; ``NO_SYSTEM`` where the corpus does not say.
        reference: What is said.
        rating: Mean rating or one vote; None where the corpus gives none.
        split: ``train``, ``validation`` or ``test``.
        corpus: Listening test it was rated in, where a corpus has several; else the recipe's name.
        votes: Votes behind the rating, where known.
        speaker: Who speaks, where known.
        variant: Tells recordings of one system and reference apart, where there are several: part
            of their id.
        metrics: Further ratings, under names that start with ``mos_``.
        meta: Anything else worth keeping.
    """

    path: Path
    system: str
    reference: str
    rating: float | None
    split: str
    corpus: str = ""
    votes: int | None = None
    speaker: str | None = None
    variant: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgedPair:
    """Two recordings that listeners compared.

    Attributes:
        a: First audio file.
        b: Second audio file.
        preference: +1 where A is better, -1 where B is, 0 for a tie.
        split: ``train``, ``validation`` or ``test``.
    """

    a: Path
    b: Path
    preference: int
    split: str


class Problems:
    """What could not be used, by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, where: object) -> None:
        """Note one; the first three of each kind are kept by name."""
        self.counts[kind] += 1
        if len(self.examples[kind]) < 3:
            self.examples[kind].append(str(where))

    def lines(self) -> list[str]:
        """Describe each kind in a line."""
        return [
            f"{kind}: {count}, as {'; '.join(self.examples[kind])}"
            for kind, count in self.counts.most_common()
        ]


@dataclass(frozen=True)
class Expected:
    """What a split holds according to its paper.

    Attributes:
        split: Which split.
        samples: Recordings, or pairs.
        hours: Hours of audio; None where not published.
        systems: Systems; None where not published.
        corpus: Listening test, where a corpus has several.
    """

    split: str
    samples: int
    hours: float | None = None
    systems: int | None = None
    corpus: str = ""


@dataclass(frozen=True)
class Recipe:
    """How one corpus becomes manifests.

    Attributes:
        name: Corpus; also the manifest's name.
        read: Yields rows from the corpus's folder. Also gets the folder for audio that has to be
            written out, and where to note problems.
        expected: Published counts, of Table 2 of UrgentMOS where it has the corpus.
        scale: Lowest and highest rating possible.
    """

    name: str
    read: Callable[[Path, Path, Problems], Iterator[RatedFile | JudgedPair]]
    expected: Sequence[Expected] = ()
    scale: tuple[float, float] = FIVE_POINT
