"""Speech, noise and responses made on the spot, as arrays and as folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from urgentmos.simulate.sources import Sources, Talker

Speech = Callable[..., np.ndarray]


@pytest.fixture
def sources(material: Path) -> Sources:
    """The material as sources of distortions."""
    return Sources(
        noises={p.name: p for p in sorted((material / "noise").iterdir())},
        responses={p.name: p for p in sorted((material / "rir").iterdir())},
        speech={
            f"{p.parent.name}/{p.name}": Talker(p, p.parent.name)
            for p in sorted((material / "speech").rglob("*.wav"))
        },
    )
