"""Recordings with references, and optional packages imported without their warnings."""

import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

Package = Callable[[str], ModuleType]


@pytest.fixture
def package() -> Package:
    """Import a reference package, or skip the test where it is not installed."""

    def import_quietly(name: str) -> ModuleType:
        with warnings.catch_warnings():
            # Several import pkg_resources or names that scipy has deprecated.
            warnings.simplefilter("ignore")
            return pytest.importorskip(name, reason=f"{name} is the oracle of this test")

    return import_quietly


@pytest.fixture
def reference(speech: Callable[..., np.ndarray]) -> np.ndarray:
    """Two seconds of speech."""
    return speech(seconds=2.0)


@pytest.fixture
def noisy(reference: np.ndarray) -> np.ndarray:
    """The same speech, louder, with noise."""
    noise = np.random.default_rng(1).standard_normal(len(reference))
    return (1.5 * reference + 0.02 * noise).astype(np.float32)
