"""Shape checks on every call of the package, tiny models, and speech made on the spot."""

from jaxtyping import install_import_hook

install_import_hook("urgentmos", "beartype.beartype")

import json  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from urgentmos.config import from_dict  # noqa: E402
from urgentmos.model.assessor import Assessor, AssessorNetwork, build_assessor  # noqa: E402
from urgentmos.model.checkpoint import load_model, save_model  # noqa: E402
from urgentmos.model.config import ModelConfig  # noqa: E402

torch.set_num_threads(1)

Speech = Callable[..., np.ndarray]


@pytest.fixture
def tiny_config() -> ModelConfig:
    """Two encoders of our own at different frame rates, three groups, a preference head."""
    return from_dict(
        ModelConfig,
        {
            "encoders": [
                {
                    "family": "log_mel",
                    "options": {
                        "dim": 12, "bands": 16, "channels": [4, 4], "time_strides": [4, 2],
                        "frequency_strides": [4, 2], "blocks": 1, "expansion": 2,
                    },
                },
                {
                    "family": "complex_spectrum",
                    "options": {
                        "dim": 8, "channels": [4, 4, 4], "time_strides": [2, 2, 1],
                        "frequency_strides": [4, 4, 2], "blocks": 2, "block_kernel": 3,
                        "expansion": 2,
                    },
                },
            ],
            "fusion": {"dim": 16},
            "groups": {
                "noise_and_distortion": {
                    "metrics": ["pesq", "sdr", "lsd"], "layers": 1, "heads": 2, "feedforward": 16,
                },
                "naturalness": {"metrics": ["mos"], "layers": 1, "heads": 2, "feedforward": 16},
                "intelligibility": {
                    "metrics": ["estoi", "lps"], "layers": 1, "heads": 2, "feedforward": 16,
                },
            },
            "preference": {"heads": 2, "features": "difference"},
            "shortest_s": 0.1,
        },
        where="model",
    )  # fmt: skip


@pytest.fixture
def tiny_network(tiny_config: ModelConfig) -> AssessorNetwork:
    """The tiny network with seeded random weights, in evaluation mode."""
    torch.manual_seed(0)
    network = build_assessor(tiny_config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # Layer mixes start equal and biases at zero: neither would show a mistake.
            if name.endswith(("weights", "bias")):
                parameter.normal_(std=0.3)
    return network.eval()


@pytest.fixture
def tiny_model_dir(tiny_config: ModelConfig, tiny_network: AssessorNetwork, tmp_path: Path) -> Path:
    """The tiny network saved as a model folder."""
    folder = tmp_path / "tiny_model"
    save_model(folder, tiny_network, tiny_config, {"name": "tiny"})
    return folder


@pytest.fixture
def tiny_assessor(tiny_model_dir: Path) -> Assessor:
    """The tiny network, saved and loaded."""
    return load_model(tiny_model_dir)


class WithoutFloat64(TorchDispatchMode):
    """Within it, an operation that gives float64 fails, as all do on Apple's GPUs."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor) and each.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"{func} gave {each.dtype}")
        return result


@pytest.fixture
def without_float64() -> WithoutFloat64:
    """What a block is run within to see that it needs no float64."""
    return WithoutFloat64()


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """A GPU; a test that asks for one is skipped where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def speech() -> Speech:
    """Make speech-like sound: ``speech(seconds=1.0, seed=0, sample_rate=16000)``, float32."""
    return _speech


def _speech(seconds: float = 1.0, seed: int = 0, sample_rate: int = 16000) -> np.ndarray:
    generator = np.random.default_rng(seed)
    samples = max(1, round(seconds * sample_rate))
    time = np.arange(samples) / sample_rate
    pitch = generator.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time + seed))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    formants = generator.uniform([400, 1000, 2300], [800, 2000, 3200])
    waveform = np.zeros(samples)
    for harmonic in range(1, 40):
        frequency = harmonic * pitch
        gain = sum(1 / (1 + ((frequency - formant) / 120) ** 2) for formant in formants)
        waveform += np.where(frequency < 0.45 * sample_rate, gain, 0.0) * np.sin(harmonic * phase)
    # Four syllables a second, a pause now and then, and breath so that no sample is exactly zero.
    syllable = np.clip(np.sin(2 * np.pi * 2 * time + generator.uniform(0, np.pi)) ** 2, 0.02, 1)
    pauses = generator.uniform(size=int(np.ceil(seconds * 2)) + 1) > 0.2
    waveform *= syllable * np.where(pauses[(time * 2).astype(int)], 1.0, 0.02)
    waveform += 1e-3 * generator.standard_normal(samples)
    return (0.3 * waveform / np.abs(waveform).max()).astype(np.float32)


@pytest.fixture
def rated(tmp_path: Path, speech) -> Path:
    """Three systems of growing noise on three references, in one corpus."""
    generator = np.random.default_rng(0)
    rows = []
    for reference in range(3):
        clean = speech(seconds=0.6 + 0.2 * reference, seed=reference)
        for system, noise in enumerate((0.0, 0.05, 0.3)):
            path = tmp_path / f"{system}_{reference}.wav"
            degraded = clean + noise * generator.normal(size=len(clean))
            soundfile.write(path, degraded.clip(-1, 1), 16000)
            rows.append(
                {
                    "audio_path": path.name,
                    "uid": f"s{system}:r{reference}",
                    "system_id": f"s{system}",
                    "reference_id": f"r{reference}",
                    "duration": len(clean) / 16000,
                    "rating": 80.0 - 30 * system + reference,
                    "scale": "MUSHRA 0-100",
                    "corpus": "noisy",
                }
            )
    manifest = tmp_path / "rated.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


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
