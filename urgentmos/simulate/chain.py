"""Distortions one after another, each reproducible from its kind, strength and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from urgentmos.simulate.distortion import DistortionKind, Params, Waveform
from urgentmos.simulate.sources import Sources

SEVERE_SKEW = 1.5
"""Strengths in a chain of several are drawn as u to this power: milder than a single one's."""

IN_ORDER_SHARE = 0.8
"""Share of chains that follow the order in which a real path damages speech."""


@dataclass(frozen=True)
class Step:
    """One distortion of a chain.

    Attributes:
        kind: Name of the distortion.
        strength: 0 (barely audible) to 1 (severe).
        seed: Of its random choices; two steps that differ in strength alone share them.
    """

    kind: str
    strength: float
    seed: int

    def params(self, kinds: Mapping[str, DistortionKind], sources: Sources) -> Params:
        """Draw the parameters; the same step and sources always give the same."""
        rng = np.random.default_rng([self.seed, 0])
        return kinds[self.kind].sample(self.strength, rng, sources)


def draw_chain(
    weights: Mapping[str, float],
    kinds: Mapping[str, DistortionKind],
    *,
    length: int,
    rng: np.random.Generator,
    severest: float = 1.0,
) -> list[Step]:
    """Draw a chain of different kinds, with a strength for each.

    Args:
        weights: Kind → how often it is drawn, relative to the others.
        kinds: Table that the names refer to.
        length: Number of distortions.
        rng: Decides everything.
        severest: Largest strength, in (0, 1].
    """
    names = sorted(name for name, weight in weights.items() if weight > 0)
    share = np.array([weights[name] for name in names])
    length = min(length, len(names))
    if length == 0:
        return []
    drawn = rng.choice(names, size=length, replace=False, p=share / share.sum()).tolist()
    if rng.uniform() < IN_ORDER_SHARE:
        drawn.sort(key=lambda name: kinds[name].stage)
    skew = 1.0 if length == 1 else SEVERE_SKEW
    return [
        Step(
            kind=name,
            strength=severest * float(rng.uniform() ** skew),
            seed=int(rng.integers(2**63)),
        )
        for name in drawn
    ]


def versions(
    chain: Sequence[Step],
    kinds: Mapping[str, DistortionKind],
    sources: Sources,
    *,
    count: int,
    rng: np.random.Generator,
    severest: float = 1.0,
) -> list[tuple[float, list[Step]]]:
    """Return the same chain with one step at rising strengths, each with that strength.

    Strengths rise to ``severest`` at most. One whose parameters equal those of a weaker one is left
    out (a codec has few rates).
    """
    knob = int(rng.integers(len(chain)))
    strengths = severest * (np.arange(count) + rng.uniform(0.1, 0.9, size=count)) / count
    found: list[tuple[float, list[Step]]] = []
    last: Params | None = None
    for strength in strengths:
        step = replace(chain[knob], strength=float(strength))
        params = step.params(kinds, sources)
        if params != last:
            found.append((step.strength, [*chain[:knob], step, *chain[knob + 1 :]]))
        last = params
    return found


def apply_chain(
    waveform: Waveform,
    chain: Sequence[Step],
    kinds: Mapping[str, DistortionKind],
    sources: Sources,
) -> tuple[Waveform, list[dict[str, Any]]]:
    """Apply a chain.

    Returns:
        The distorted waveform, and kind, strength, seed and parameters of each step, JSON-able.

    Raises:
        ValueError: A distortion changed the length or gave a sample that is not finite.
    """
    applied = []
    for step in chain:
        params = step.params(kinds, sources)
        rng = np.random.default_rng([step.seed, 1])
        distorted = kinds[step.kind].apply(waveform, params, rng, sources)
        if distorted.shape != waveform.shape or not np.isfinite(distorted).all():
            raise ValueError(
                f"{step.kind} must keep {len(waveform)} finite samples; it returned "
                f"{distorted.shape[0]}, {np.count_nonzero(~np.isfinite(distorted))} not finite"
            )
        waveform = distorted.astype(np.float32)
        applied.append(
            {"kind": step.kind, "strength": step.strength, "params": params, "seed": step.seed}
        )
    return waveform, applied


def chain_name(chain: Sequence[Step]) -> str:
    """Name a chain as a system: ``babble@0.3+opus@0.6``, or ``clean``."""
    return "+".join(f"{step.kind}@{step.strength:.1f}" for step in chain) or "clean"
