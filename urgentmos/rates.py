"""The models' sample rate, and the rates accepted for files and arrays."""

import operator
from typing import SupportsIndex

SAMPLE_RATE = 16_000
"""Hz. Rate at which every encoder listens, and so every model."""

MIN_RATE, MAX_RATE = 1_000, 768_000
"""Hz. A small file that claims 1 Hz would become gigabytes; a rate of 16 surely means kHz."""


def check_rate(sample_rate: SupportsIndex) -> int:
    """Check that a sample rate in Hz can be one, and give it as Python's whole number.

    Those of numpy are as narrow as their type: products of rates and samples overflow them.

    Raises:
        TypeError: It is no whole number.
        ValueError: It lies outside ``MIN_RATE`` to ``MAX_RATE``.
    """
    try:
        rate = operator.index(sample_rate)
    except TypeError as error:
        raise TypeError(
            f"expected a sample rate as a whole number of Hz, got {sample_rate!r}"
        ) from error
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"sample rate {rate} Hz lies outside {MIN_RATE}…{MAX_RATE} Hz")
    return rate
