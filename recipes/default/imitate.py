"""Teach one encoder of a model to be a small copy of its run's teacher, before anything else.

The encoder alone is trained, on recordings without their labels: its hidden states are to be the
teacher's, layer by layer (``teacher.layers``), and what the teacher's own output says of the last
of them is to be what it says of its own. A model whose heads work on the teacher's hidden states
then works on the copy's: ``RUN/model`` holds such a model's other weights beside the copy, and
``urgentmos train`` goes on from there (``start_from``).

``python recipes/default/imitate.py configs/default.yaml --heads accurate --output RUN``
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from urgentmos.audio import SAMPLE_RATE
from urgentmos.config import load_config
from urgentmos.data.features import FeatureStore
from urgentmos.data.waveforms import audio_digest, read_padded
from urgentmos.masks import lengths_to_mask
from urgentmos.model.checkpoint import WEIGHTS_FILE, find_model, save_model
from urgentmos.model.encoders import Encoder, EncoderOutput, build_encoder
from urgentmos.model.encoders.distill_mos import load_package_weights
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.training.config import RunConfig, TeacherConfig
from urgentmos.training.corpus import Corpus, Split, load_corpus
from urgentmos.training.distillation import build_imitation
from urgentmos.training.feature_stores import FeatureStores
from urgentmos.training.optimization import MovingAverage

WARMUP_STEPS = 100
POOL_BATCHES = 16  # recordings of like length are batched within so many batches' worth of them


class Verdict(nn.Module):
    """Distill-MOS's output: attention pooling over frames, a linear layer, 1 to 5."""

    def __init__(self) -> None:
        """Read its weights from the installed package."""
        super().__init__()
        self.norm = nn.BatchNorm1d(200)
        self.hidden, self.attention = nn.Linear(200, 400), nn.Linear(400, 1)
        self.output = nn.Linear(200, 1)
        stored = load_package_weights()
        for ours, theirs in {
            "norm": "norm_trans",
            "hidden": "pool.linear1",
            "attention": "pool.linear2",
            "output": "pool.linear3",
        }.items():
            prefix = f"transformer_pool_attn.{theirs}."
            part = getattr(self, ours)
            part.load_state_dict({name: stored[prefix + name] for name in part.state_dict()})
        self.eval().requires_grad_(False)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Score the last hidden states, (batch, frames, 200)."""
        normalised = self.norm(states.transpose(1, 2)).transpose(1, 2)
        weights = self.attention(self.hidden(normalised).relu()).squeeze(-1)
        padding = ~lengths_to_mask(lengths, states.shape[1])
        weights = weights.masked_fill(padding, -torch.inf).softmax(dim=1)
        return 1 + 4 * self.output((weights[..., None] * normalised).sum(dim=1)).sigmoid()[:, 0]


class Imitating(nn.Module):
    """The copy, and how far it is from the teacher."""

    def __init__(self, network: AssessorNetwork, pupil: Encoder, store: FeatureStore) -> None:
        """Take the network that the copy is a part of, and the teacher's hidden states."""
        super().__init__()
        self.network, self.pupil = network, pupil
        self.imitation = build_imitation(store, pupil)
        self.verdict = Verdict()

    def forward(self, split: Split, store: FeatureStore, batch: np.ndarray) -> dict[str, Tensor]:
        """Give the error of the hidden states, and the squared one of the verdict."""
        lengths = split.waveforms.lengths[batch]
        waveform = torch.from_numpy(read_padded(split.waveforms, batch, lengths=lengths))
        teacher = store.read(batch)
        heard = self.network.prepare(waveform, torch.from_numpy(lengths))
        with torch.autocast("cpu", torch.bfloat16):
            given: EncoderOutput = self.pupil(*heard)
        given = EncoderOutput(given.hidden_states.float(), given.lengths)
        wanted = self.verdict(teacher.hidden_states[:, -1], teacher.lengths)
        found = self.verdict(given.hidden_states[:, -1], given.lengths)
        return {
            "states": self.imitation(given, teacher),
            "verdict": (found - wanted).square().mean(),
        }


def start_from_teacher(pupil: Encoder, teacher: Encoder, layers: list[int]) -> None:
    """Begin the copy's Transformer layers with those of the teacher that end in the same states."""
    for copy, number in zip(pupil.layers, layers[1:], strict=True):
        copy.load_state_dict(teacher.layers[number - 1].state_dict())


def take_heads(network: AssessorNetwork, config: TeacherConfig, model: str) -> None:
    """Take all weights but the copy's from a model whose encoder of that number is the teacher.

    Of its layer mix, each hidden state of the copy gets the share of those up to its own.
    """
    saved = load_file(find_model(model) / WEIGHTS_FILE)
    mix = f"fusion.mixes.{config.pupil}.weights"
    shares = saved[mix].float().softmax(dim=0)
    bounds = [number + 1 for number in config.layers]
    parts = [shares[a:b].sum() for a, b in zip([0, *bounds], bounds, strict=False)]
    saved[mix] = torch.stack(parts).log()
    own = network.state_dict()
    prefix = f"encoders.{config.pupil}."
    for name in own:
        if not name.startswith(prefix):
            own[name].copy_(saved[name])


def batches(split: Split, seconds: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw recordings in random order, those of like length together, for ever."""
    lengths = split.waveforms.lengths
    pool = max(1, round(POOL_BATCHES * seconds * SAMPLE_RATE / lengths.mean()))
    while True:
        order = rng.permutation(len(lengths))
        for start in range(0, len(order), pool):
            ordered = order[start : start + pool]
            ordered = ordered[np.argsort(lengths[ordered], kind="stable")]
            size = max(1, int(seconds * SAMPLE_RATE / lengths[ordered].max()))
            parts = [ordered[i : i + size] for i in range(0, len(ordered), size)]
            yield from (parts[i] for i in rng.permutation(len(parts)))


def validate(imitating: Imitating, split: Split, store: FeatureStore, seconds: float) -> str:
    """Measure what is left on a sample of recordings kept out of training."""
    drawn = batches(split, seconds, np.random.default_rng(0))
    with torch.no_grad():
        errors = [imitating(split, store, next(drawn)) for _ in range(8)]
    means = {name: np.mean([float(error[name]) for error in errors]) for name in errors[0]}
    return ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def open_store(
    config: RunConfig, corpus: Corpus, network: AssessorNetwork, teacher: Encoder
) -> FeatureStore:
    """Find the teacher's hidden states, or compute them."""
    stores = FeatureStores(
        Path(config.data.features),
        corpus.waveforms,
        audio_digest=audio_digest(corpus.recordings),
        precision=config.precision,
    )
    return stores.find(
        teacher,
        config.teacher.encoder,
        network=network,
        level=config.model.level,
        layers=config.teacher.layers,
    )


def main() -> None:
    """Train the copy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="run with a teacher and its pupil")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE of the run")
    parser.add_argument("--heads", required=True, help="model whose other weights are taken")
    parser.add_argument("--output", type=Path, required=True, help="run folder")
    parser.add_argument("--steps", type=int, default=7500)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--lr-layers", type=float, default=7e-4, help="of what the teacher began")
    parser.add_argument("--verdict", type=float, default=1.0, help="weight beside the states")
    arguments = parser.parse_args()

    config = load_config(RunConfig, arguments.config, overrides=arguments.overrides)
    torch.manual_seed(config.seed)
    corpus = load_corpus(config.data, metrics=config.model.metrics)
    network = build_assessor(config.model)
    take_heads(network, config.teacher, arguments.heads)
    pupil = network.encoders[config.teacher.pupil]
    teacher = build_encoder(config.teacher.encoder)
    start_from_teacher(pupil, teacher, config.teacher.layers)
    whole = open_store(config, corpus, network, teacher)
    store, held_out = (whole.select(s.positions) for s in (corpus.train, corpus.validation))
    imitating = Imitating(network, pupil, whole)

    inherited = list(pupil.layers.parameters())
    known = set(map(id, inherited))
    fresh = [p for p in pupil.parameters() if id(p) not in known]
    optimizer = torch.optim.AdamW(
        [
            {"params": fresh, "peak": arguments.lr},
            {"params": inherited, "peak": arguments.lr_layers},
        ],
        weight_decay=config.optimizer.weight_decay,
        fused=True,
    )
    trained = [*fresh, *inherited]
    average = MovingAverage(trained, decay=config.optimizer.ema_decay)
    seconds = config.data.batch_seconds
    drawn = batches(corpus.train, seconds, np.random.default_rng(config.seed))
    arguments.output.mkdir(parents=True, exist_ok=True)
    began, sums = time.monotonic(), {}
    for step in range(1, arguments.steps + 1):
        warm = min(1.0, step / WARMUP_STEPS)
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * step / arguments.steps))
            group["lr"] = group["peak"] * warm * cosine
        errors = imitating(corpus.train, store, next(drawn))
        loss = errors["states"] + arguments.verdict * errors["verdict"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(step)
        sums = {name: sums.get(name, 0.0) + float(error.detach()) for name, error in errors.items()}
        if step % 100 == 0:
            shown = ", ".join(f"{name} {value / 100:.4f}" for name, value in sums.items())
            print(f"{step}: {shown}  {time.monotonic() - began:.0f} s", flush=True)
            sums = {}
        if step % 1000 == 0 or step == arguments.steps:
            average.swap()
            left = validate(imitating, corpus.validation, held_out, seconds)
            print(f"{step}: left on validation: {left}", flush=True)
            save_model(arguments.output / "model", network, config.model, {"imitation": left})
            average.swap()


if __name__ == "__main__":
    main()
