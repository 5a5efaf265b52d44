"""Speech, noise and responses made on the spot, as arrays and as folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.simulate.sources import Sources, Talker

Speech = Callable[..., np.ndarray]


def _noise(seconds: float, seed: int) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal(int(seconds * 16000))
    return (0.05 * np.convolve(white, [0.5, 0.5], mode="same")).astype(np.float32)


def _response(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    response = 0.1 * rng.standard_normal(4000) * np.exp(-np.arange(4000) / 800)
    response[20] = -1.0
    return response.astype(np.float32)


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``speech`` of six speakers, four ``noise`` files and four ``rir`` files."""
    from tests.conftest import _speech

    folder = tmp_path_factory.mktemp("material")
    for speaker in range(6):
        for take in range(2):
            path = folder / "speech" / f"speaker{speaker}" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, _speech(2.2 + take, seed=2 * speaker + take), 16000)
    for kind, make in (("noise", lambda seed: _noise(1.5, seed)), ("rir", _response)):
        (folder / kind).mkdir()
        for number in range(4):
            soundfile.write(folder / kind / f"{number}.wav", make(number), 16000)
    return folder


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
