"""What a label tool is: recording and reference in, labels or one reason out."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from importlib import metadata
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float32

from urgentmos.data.references import MAX_DIFFERENCE_S
from urgentmos.extras import MissingExtraError
from urgentmos.ndarray import NDArray

SAMPLE_RATE = 16000
"""Every tool takes its recordings at this rate (Hz)."""

INSTALL = "pip install 'urgentmos[labels]'"
"""Command that brings most of the tools."""

NO_REFERENCE = "no reference"
"""Reason of an intrusive label that is missing because there is nothing to compare with."""

# One axis of any length: a recording and its reference may differ.
Waveform = Float32[NDArray[np.float32], " _"]
Value = TypeVar("Value")


class LabelError(ValueError):
    """A label cannot be computed for this recording; the message is the reason kept with it."""


@runtime_checkable
class Labeller(Protocol):
    """A tool that computes one or more labels of a recording.

    Making one is cheap: models load at the first recording.
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the labels it gives, as in `urgentmos.metrics`."""
        ...

    @property
    def version(self) -> str:
        """Tool, its version and whatever else decides the numbers."""
        ...

    def label(self, recording: Waveform, reference: Waveform | None) -> dict[str, float]:
        """Compute the labels of one recording.

        Args:
            recording: Mono waveform at 16 kHz.
            reference: The clean recording, aligned in time and of the same length, of any length
                for tools that compare whole recordings; None where there is none.

        Raises:
            LabelError: There is no value; never a placeholder number instead.
            MissingExtraError: The tool or its weights are not on this machine.
        """
        ...


def require_reference(reference: Waveform | None) -> Waveform:
    """Return the reference of an intrusive metric.

    Raises:
        LabelError: There is no reference, or it is silent.
    """
    if reference is None:
        raise LabelError(NO_REFERENCE)
    if not np.any(reference):
        raise LabelError("silent reference")
    return reference


def require_aligned_reference(recording: Waveform, reference: Waveform | None) -> Waveform:
    """Return the reference of a metric that compares it with the recording moment by moment.

    Raises:
        LabelError: There is no reference, it is silent, or its length differs.
    """
    if reference is not None and len(reference) != len(recording):
        raise LabelError(
            f"reference has {len(reference)} samples, recording {len(recording)}; "
            "expected the same number"
        )
    return require_reference(reference)


def cut_alike(
    recording: Waveform, reference: Waveform, *, sample_rate: int
) -> tuple[Waveform, Waveform]:
    """Cut the longer of recording and reference at its end, where they hardly differ.

    Args:
        recording: Mono waveform.
        reference: Its clean reference.
        sample_rate: Of both, in Hz.

    Raises:
        LabelError: They differ by more than ``MAX_DIFFERENCE_S``.
    """
    if abs(len(recording) - len(reference)) > MAX_DIFFERENCE_S * sample_rate:
        raise LabelError(
            f"recording of {len(recording) / sample_rate:.2f} s, reference of "
            f"{len(reference) / sample_rate:.2f} s: they have to be the same moments, and may "
            f"differ by {MAX_DIFFERENCE_S} s at most"
        )
    length = min(len(recording), len(reference))
    return recording[:length], reference[:length]


def require_sound(recording: Waveform) -> None:
    """Check that a recording is not digital silence.

    Raises:
        LabelError: Every sample is zero.
    """
    if not np.any(recording):
        raise LabelError("silent recording")


def package_version(distribution: str, *, install: str = INSTALL) -> str:
    """Return ``name version`` of an installed package.

    Args:
        distribution: Name of the package in the registry.
        install: Command that brings it.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError(
            f"{distribution} is needed here and is not installed; install it with: {install}"
        ) from error


_CACHED_REFERENCES = 8


class ReferenceCache(Generic[Value]):
    """What a tool computed from the last few references.

    Several recordings of one reference usually follow each other, and the reference's side is then
    half of the work.
    """

    def __init__(self, compute: Callable[[Waveform], Value]) -> None:
        """Remember the results of ``compute`` on the references used last."""
        self._compute = compute
        self._values: OrderedDict[bytes, Value] = OrderedDict()

    def get(self, reference: Waveform) -> Value:
        """Compute, or look up, the value of a reference."""
        key = hashlib.blake2b(reference.tobytes(), digest_size=16).digest()
        if key not in self._values:
            self._values[key] = self._compute(reference)
        self._values.move_to_end(key)
        if len(self._values) > _CACHED_REFERENCES:
            self._values.popitem(last=False)
        return self._values[key]
