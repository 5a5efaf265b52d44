"""Train the same network in several ways from one start per seed.

For each seed, a start is trained on SI-SDR alone; each way then goes on from it with as many
steps on the same mixtures. A run that is finished is skipped, so a killed call is repeated.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from enhancer import Enhancer, si_sdr
from jaxtyping import Float
from mixtures import Material, Mixer, load_parts, make_parser
from safetensors.torch import load_file, save_file
from torch import Tensor

import urgentmos
from urgentmos.config import from_dict
from urgentmos.labels.estoi import Estoi
from urgentmos.whole_file import write_whole

START_RATE, RATE = 1e-3, 3e-4
"""Learning rates of the start, and of the ways."""

CHECKS = 5
"""Readings of the monitor on the way, beside the one before the first step."""

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Way:
    """What one way of training minimises; see ``ways.yaml``."""

    sdr: float
    quality: dict[str, float] = field(default_factory=dict)
    smooth_db: list[float] = field(default_factory=list)
    balance: float | None = None


@dataclass
class Run:
    """One training of the network."""

    network: Enhancer
    mixer: Mixer
    loss: Loss
    steps: int
    batch: int
    rate: float

    def train(self, after_step: Callable[[int], None]) -> list[float]:
        """Take all steps and return the loss at each."""
        device = next(self.network.parameters()).device
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.rate)
        losses = []
        for step in range(1, self.steps + 1):
            noisy, clean = self.mixer.batch(self.batch)
            value = self.loss(self.network(noisy.to(device)), clean.to(device))
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            optimizer.step()
            losses.append(value.item())
            after_step(step)
        return losses


def loss_of(way: Way, quality: urgentmos.QualityLoss | None, seed: int) -> Loss:
    """Make the loss of one way."""
    rng = np.random.default_rng([seed, 2])

    def loss(enhanced: Tensor, clean: Tensor) -> Tensor:
        by_sdr = -way.sdr * si_sdr(enhanced, clean).mean()
        if quality is None:
            return by_sdr
        by_quality = quality(perturbed(enhanced, way.smooth_db, rng) if way.smooth_db else enhanced)
        if way.balance is None:
            return by_sdr + by_quality
        return balanced(by_sdr, way.balance, by_quality, enhanced)

    return loss


def balanced(
    loss: Float[Tensor, ""],
    share: float,
    other: Float[Tensor, ""],
    waveform: Float[Tensor, "batch samples"],
) -> Float[Tensor, ""]:
    """Add a loss, weighted for each recording so that its gradient is ``share`` times as long.

    Returns:
        A loss with the gradient of that sum; its value means nothing.
    """
    gradient, other_gradient = (
        torch.autograd.grad(each, waveform, retain_graph=True)[0] for each in (loss, other)
    )
    weight = share * gradient.norm(dim=1) / other_gradient.norm(dim=1).clamp(min=1e-12)
    return (waveform * (gradient + weight[:, None] * other_gradient)).sum()


def perturbed(
    enhanced: Float[Tensor, "batch samples"],
    below_db: Sequence[float],
    rng: np.random.Generator,
) -> Float[Tensor, "batch samples"]:
    """Change recordings in ways that change little quality, so that no gain hangs on a detail.

    Moves them by up to 20 ms, tilts their spectrum by up to about 2 dB, and adds white noise that
    many dB below them, lowest and highest.
    """
    shifted = torch.roll(enhanced, int(rng.integers(-320, 321)), dims=1)
    tilted = shifted + rng.uniform(-0.2, 0.2) * torch.roll(shifted, 1, dims=1)
    level = enhanced.detach().square().mean(dim=1, keepdim=True).sqrt()
    noise = torch.from_numpy(rng.standard_normal(enhanced.shape, dtype=np.float32))
    return tilted + level * 10 ** (-rng.uniform(*below_db) / 20) * noise.to(enhanced.device)


def measured_estoi(
    enhanced: Float[Tensor, "batch samples"], clean: Float[Tensor, "batch samples"]
) -> Float[Tensor, " batch"]:
    """Compute ESTOI itself, which no loss here sees."""
    tool = Estoi()
    pairs = zip(enhanced.cpu().numpy(), clean.numpy(), strict=True)
    return torch.tensor([tool.label(*pair)["estoi"] for pair in pairs])


class Experiment:
    """Seeds and ways on one set of material."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Read the material and the assessor."""
        self.options = options
        self.parts = load_parts(options.sources, options.audio, wanted=["train", "monitor"])
        self.assessor = urgentmos.load(options.model, device=options.device)
        options.work.mkdir(parents=True, exist_ok=True)

    def start(self, seed: int) -> Enhancer:
        """Train the start of one seed, or load it."""
        options = self.options
        path: Path = options.work / f"start-{seed}" / "enhancer.safetensors"
        torch.manual_seed(seed)
        network = Enhancer(options.width).to(options.device)
        if path.exists():
            network.load_state_dict(load_file(path))
            return network
        run = Run(
            network,
            self._mixer(seed, stage=0),
            lambda enhanced, clean: -si_sdr(enhanced, clean).mean(),
            steps=options.start_steps,
            batch=options.batch,
            rate=START_RATE,
        )
        record = _timed(run, lambda step: None)
        _keep(path.parent, network, {"seed": seed, "steps": options.start_steps}, record)
        sdr = -np.mean(record["losses"][-20:])
        print(f"start-{seed}: {_spent(record)}, SI-SDR {sdr:.2f} dB at the end of training")
        return network

    def run(self, name: str, way: Way, seed: int) -> None:
        """Train one way from its start, the monitor listening."""
        options = self.options
        folder: Path = options.work / f"{name}-{seed}"
        settings = {
            "way": asdict(way),
            "seed": seed,
            "steps": options.steps,
            "model": self.assessor.model_hash if way.quality else None,
        }
        if _finished(folder, settings):
            return
        network = self.start(seed)
        quality = monitor = None
        if way.quality:
            quality = urgentmos.QualityLoss(way.quality, model=self.assessor)
            monitor = urgentmos.LossMonitor(quality)
        readings: list[dict[str, Any]] = []
        noisy, clean = Mixer(self.parts["monitor"], seconds=4.0, seed=[0]).batch(options.monitored)

        def listen(step: int) -> None:
            if monitor is None or step % max(1, options.steps // CHECKS):
                return
            with torch.no_grad():
                enhanced = network(noisy.to(options.device))
            # What is in the loss cannot be held out of it.
            held_out = "estoi" not in way.quality
            measured = {"estoi": measured_estoi(enhanced, clean)} if held_out else {}
            monitor.update(enhanced, measured=measured)
            reading = monitor.compute()
            readings.append({"step": step, "scores": reading.scores, "parted": reading.parted})

        run = Run(
            network,
            self._mixer(seed, stage=1),
            loss_of(way, quality, seed),
            steps=options.steps,
            batch=options.batch,
            rate=RATE,
        )
        listen(0)
        record = _timed(run, listen) | {"monitor": readings}
        _keep(folder, network, settings, record)
        print(f"{name}-{seed}: {_spent(record)}, loss {np.mean(record['losses'][-20:]):.2f}")

    def _mixer(self, seed: int, *, stage: int) -> Mixer:
        material: Material = self.parts["train"]
        return Mixer(material, seconds=self.options.seconds, seed=[seed, stage])


def _timed(run: Run, after_step: Callable[[int], None]) -> dict[str, Any]:
    """Train, and give the losses and the time that it took."""
    began, cpu_began = time.perf_counter(), time.process_time()
    losses = run.train(after_step)
    cpu_seconds = time.process_time() - cpu_began
    return {"losses": losses, "seconds": time.perf_counter() - began, "cpu_seconds": cpu_seconds}


def _spent(record: dict[str, Any]) -> str:
    return f"{record['seconds']:.0f} s ({record['cpu_seconds']:.0f} s of processor time)"


def _keep(
    folder: Path, network: Enhancer, settings: dict[str, Any], record: dict[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "enhancer.safetensors")
    # Last and whole, for it says that the run is finished.
    text = json.dumps({"settings": settings, **record}, indent=1)
    write_whole(folder / "run.json", text + "\n")


def _finished(folder: Path, settings: dict[str, Any]) -> bool:
    path = folder / "run.json"
    if not path.exists():
        return False
    made_with = json.loads(path.read_text(encoding="utf-8"))["settings"]
    if made_with != settings:
        raise SystemExit(f"{folder} was made with {made_with}, now {settings}: move it away first")
    return True


def main() -> None:
    """Train every way with every seed."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--ways", type=Path, default=Path(__file__).with_name("ways.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", default="default", help="the assessor")
    parser.add_argument("--start-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a mixture")
    parser.add_argument("--monitored", type=int, default=24, help="mixtures the monitor hears")
    parser.add_argument("--width", type=int, default=192, help="of the network")
    options = parser.parse_args()

    ways = yaml.safe_load(options.ways.read_text(encoding="utf-8"))
    experiment = Experiment(options)
    for seed in options.seeds:
        for name, way in ways.items():
            experiment.run(name, from_dict(Way, way, where=name), seed)


if __name__ == "__main__":
    main()
