"""Deterministic hashes: reproducible numbers that look random."""

import hashlib

import numpy as np
from jaxtyping import UInt64

from urgentmos.name_bytes import name_bytes
from urgentmos.ndarray import NDArray

_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def scramble(values: UInt64[NDArray[np.uint64], "*shape"]) -> UInt64[NDArray[np.uint64], "*shape"]:
    """Scatter 64-bit numbers (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MULTIPLIERS[0]
    values = (values ^ (values >> np.uint64(27))) * _MULTIPLIERS[1]
    return values ^ (values >> np.uint64(31))


def lot(name: str) -> float:
    """Draw a number from 0 to below 1 that belongs to a name and never changes."""
    digest = hashlib.sha256(name_bytes(name)).digest()
    # As many bits as a float holds, so that none is rounded up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
