"""What a distortion is: parameters drawn at a strength, then applied to a waveform."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from urgentmos.ndarray import NDArray
from urgentmos.simulate.sources import Sources

SAMPLE_RATE = 16000
"""Every distortion works on mono waveforms at this rate, in Hz."""

Waveform: TypeAlias = Float[NDArray[Any], " _"]
"""Mono samples; two waveforms of one call may differ in length."""

Params: TypeAlias = dict[str, Any]
Material = Literal["noise", "response", "speech"]


@dataclass(frozen=True)
class DistortionKind:
    """One way to degrade speech, from barely audible (strength 0) to severe (strength 1).

    Random choices never depend on the strength: the same generator seed with two strengths
    gives the same choices, and parameters that move in one direction only.

    Attributes:
        sample: ``(strength, rng, sources)`` → JSON-able parameters.
        apply: ``(waveform, params, rng, sources)`` → waveform of the same length, time-aligned
            with the input.
        stage: Where the kind stands in a natural chain: room 0, noise 1, microphone 2,
            enhancement 3, re-synthesis 4, codec 5, network 6.
        tools: Programs, encoders and packages it runs, as in ``tools.missing_tools``.
        material: Recordings it draws on besides the waveform.
    """

    sample: Callable[[float, np.random.Generator, Sources], Params]
    apply: Callable[[Waveform, Params, np.random.Generator, Sources], Waveform]
    stage: int
    tools: tuple[str, ...] = ()
    material: tuple[Material, ...] = ()


def between(mild: float | int, severe: float | int, strength: float) -> float:
    """Move from ``mild`` to ``severe`` in equal steps of difference."""
    return mild + (severe - mild) * strength


def between_ratio(mild: float | int, severe: float | int, strength: float) -> float:
    """Move from ``mild`` to ``severe`` in equal steps of ratio; both must be above 0."""
    return float(mild * (severe / mild) ** strength)
