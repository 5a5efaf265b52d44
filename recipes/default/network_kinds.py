"""The recipe's small networks as kinds of distortion, next to those of the package."""

from functools import cache
from pathlib import Path

import networks
import numpy as np
import torch

from urgentmos.simulate.distortion import DistortionKind, Params, Waveform
from urgentmos.simulate.sources import Sources

_NETWORK_STAGE = 6
_TRAINING_RMS = 0.08


def network_kinds(folder: Path) -> dict[str, DistortionKind]:
    """Make one kind of every network in a folder; the strength chooses the stage of training."""
    stages: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.safetensors"), key=_steps, reverse=True):
        stages.setdefault(path.name.split("@")[0], []).append(path)
    return {f"network_{name}": _network_kind(name, paths) for name, paths in stages.items()}


def planned_network_kinds() -> dict[str, DistortionKind]:
    """Make the kinds of all networks without the networks: they can be drawn, but not applied."""
    return {
        f"network_{name}": _network_kind(name, [Path(f"{name}@0.safetensors")])
        for name in networks.NETWORKS
    }


def _network_kind(name: str, paths: list[Path]) -> DistortionKind:
    """Make a kind of one network; ``paths`` run from the longest trained to the shortest."""

    def sample(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
        stage = min(int(strength * len(paths)), len(paths) - 1)
        params: Params = {"stage": paths[stage].name}
        if networks.NETWORKS[name].task == "enhancement":
            params |= {"noise": sources.draw_noise(rng), "snr_db": float(rng.uniform(-5, 20))}
        return params

    def apply(
        waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
    ) -> Waveform:
        if "noise" in params:
            waveform = _add_noise(waveform, sources.noise(params["noise"]), params, rng)
        return _run(_load(paths[0].parent / params["stage"]), waveform)

    noisy = networks.NETWORKS[name].task == "enhancement"
    return DistortionKind(sample, apply, stage=_NETWORK_STAGE, material=("noise",) if noisy else ())


def _add_noise(
    waveform: Waveform, noise: Waveform, params: Params, rng: np.random.Generator
) -> Waveform:
    start = int(rng.integers(len(noise)))
    noise = np.resize(np.roll(noise, -start), len(waveform))
    level = np.sqrt(np.mean(waveform**2) / (np.mean(noise**2) + 1e-9))
    return waveform + noise * level * 10 ** (-params["snr_db"] / 20)


def _run(network: networks.SpectralNetwork, waveform: Waveform) -> Waveform:
    gain = _TRAINING_RMS / (np.sqrt(np.mean(waveform**2)) + 1e-6)
    with torch.inference_mode():
        output = network(torch.from_numpy(np.float32(waveform * gain))[None])[0].numpy()
    return np.float32(output / gain)


@cache
def _load(path: Path) -> networks.SpectralNetwork:
    torch.set_num_threads(1)  # one process per core makes the recordings
    return networks.load(path)


def _steps(path: Path) -> int:
    return int(path.stem.split("@")[1])
