"""Train a model on a stream of recordings that are simulated and labelled while it learns.

A graphics processor learns faster than recordings can be simulated, labelled and stored. Here
``simulate.py`` runs beside the training. What it has finished is read at once
(`stream_recordings.py`), half of each batch is damaged once more on the device (`more_damage.py`),
and all of it is labelled there: SDR, LSD, MCD, ESTOI and DNSMOS by `batch_labels`, Distill-MOS
by the trunk whose hidden states the copy learns. PESQ and PESQc2, which need a processor, are those
of recordings as they were simulated. Speaker similarity keeps the scores of the model that the
training starts from. Each batch is heard a few times.

``python recipes/default/stream.py CONFIG SIMULATION [...] --noises FOLDER --output FOLDER
--seconds N``
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batch_labels import BatchLabels
from more_damage import MoreDamage
from pseudo_mos import HIGH, LOW
from stream_recordings import Drawn, Follower, Pool
from torch import Tensor

from urgentmos.audio import SAMPLE_RATE
from urgentmos.audio_folders import find_audio
from urgentmos.config import load_config
from urgentmos.data.dataset import Batch
from urgentmos.data.features import StoredStates
from urgentmos.data.sampler import Progress
from urgentmos.model.checkpoint import save_model
from urgentmos.model.encoders import EncoderOutput, build_encoder
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.simulate.sources import read_mono
from urgentmos.training.config import RunConfig
from urgentmos.training.distillation import StudentDistillation
from urgentmos.training.objective import Objective
from urgentmos.training.optimization import MovingAverage, build_optimizer
from urgentmos.training.reference_spectra import build_reference_spectra
from urgentmos.training.running_means import RunningMeans
from urgentmos.training.start_from import start_from

# What `pseudo_mos.py` made of the labels of the first two sets, by least squares (off by .01 on
# average): of PESQ, Distill-MOS, DNSMOS P.808 and 1; and without PESQ where it does not count.
MOS_WITH_PESQ = (0.21248, 0.61423, 0.38671, -0.66046)
MOS_WITHOUT_PESQ = (0.75543, 0.56196, -1.09958)
KEPT_SCORES = ("spksim",)
NOISE_SECONDS = 8
FIRST_BATCHES = 8
WARM_UP = 0.02  # of the time


class Labelling:
    """Turn recordings of a pool into batches with labels.

    Args:
        network: Model the training starts from.
        config: The run, which has a teacher.
        device: Where it runs.
        dnsmos: Folder of the DNSMOS networks; None, where ``speechmos`` has them.
    """

    def __init__(
        self,
        network: AssessorNetwork,
        config: RunConfig,
        *,
        device: torch.device,
        dnsmos: Path | None,
    ) -> None:
        self._labels = BatchLabels(device, dnsmos_folder=dnsmos, dnsmos_tf32=True)
        self._teacher = build_encoder(config.teacher.encoder).to(device).eval()
        self._layers = list(config.teacher.layers)
        self._former = copy.deepcopy(network).to(device).eval()
        self._metrics = network.metrics
        self._delta = config.data.delta

    @torch.no_grad()
    def __call__(self, drawn: Drawn) -> Batch:
        """Compute the labels of recordings, and compare each with another one."""
        waveform, reference = drawn.waveform, drawn.reference
        device = waveform.device
        lengths = torch.full((len(waveform),), waveform.shape[1], device=device)
        with torch.autocast(device.type, torch.bfloat16):
            taught: EncoderOutput = self._teacher(waveform, lengths)
            former = self._former(waveform, lengths, metrics=KEPT_SCORES).scores
        labels = self._labels(waveform, reference, reference.any(dim=1))
        labels |= {name: former[name].float() for name in KEPT_SCORES}
        labels |= {"distill_mos": taught.native_scores["distill_mos"].float()}
        labels |= {"pesq": drawn.pesq, "pesqc2": drawn.pesqc2}
        labels["mos"] = pseudo_mos(labels, keeps_phase=drawn.keeps_phase)
        matrix = torch.stack([labels[name] for name in self._metrics], dim=1)
        pairs, cmos, preference = pair_up(labels["mos"], delta=self._delta)
        return Batch(
            waveform=waveform,
            lengths=lengths,
            labels=matrix,
            pairs=pairs,
            cmos=cmos,
            preference=preference,
            label_counts=(~matrix.isnan()).sum(dim=0).float(),
            pair_count=(~cmos.isnan()).sum().float(),
            decided_count=(cmos.nan_to_num() != 0).sum().float(),
            after=Progress(),
            teacher=StoredStates(taught.hidden_states[:, self._layers].float(), taught.lengths),
            reference=reference,
        )


def pseudo_mos(labels: Mapping[str, Tensor], *, keeps_phase: Tensor) -> Tensor:
    """Combine labels into what the ``mos`` head learns, as `pseudo_mos.py` does."""
    pesq, distill, p808, one = MOS_WITH_PESQ
    with_pesq = pesq * labels["pesq"] + distill * labels["distill_mos"]
    with_pesq = with_pesq + p808 * labels["dnsmos_p808"] + one
    distill, p808, one = MOS_WITHOUT_PESQ
    without = distill * labels["distill_mos"] + p808 * labels["dnsmos_p808"] + one
    counts = keeps_phase & ~labels["pesq"].isnan()
    return torch.where(counts, with_pesq, without).clamp(LOW, HIGH)


def pair_up(mos: Tensor, *, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compare each recording with one other, drawn at random (UrgentMOS, Eq. 6).

    Returns:
        Pairs (rows of two), CMOS (NaN where it is not known), and which is better (0: a tie).
    """
    order = torch.randperm(len(mos), device=mos.device)
    pairs = torch.stack([order, order.roll(1)], dim=1)
    cmos = mos[pairs[:, 0]] - mos[pairs[:, 1]]
    return pairs, cmos, torch.where(cmos.abs() > delta, cmos.sign(), 0.0).long()


def draw(pool: Pool, damage: MoreDamage, *, size: int, more: float) -> Drawn:
    """Draw recordings as they are, and a share that is damaged once more."""
    samples = pool.draw_samples()
    plain = pool.draw(round(size * (1 - more)), samples=samples, as_they_are=True)
    others = pool.draw(size - len(plain.waveform), samples=samples, as_they_are=False)
    others = others._replace(waveform=damage(others.waveform))
    drawn = Drawn(*(torch.cat(parts) for parts in zip(plain, others, strict=True)))
    # The other polarity, for both: PESQ stays what it is.
    sign = 1 - 2 * torch.randint(2, (len(drawn.waveform), 1), device=drawn.waveform.device)
    return drawn._replace(waveform=drawn.waveform * sign, reference=drawn.reference * sign)


class Learner:
    """The network, what it is trained for, and the mean of its weights.

    Args:
        network: Model to train.
        config: The run.
        batches: From which the spread of the teacher's states is taken.
    """

    def __init__(self, network: AssessorNetwork, config: RunConfig, batches: list[Batch]) -> None:
        states = [batch.teacher.hidden_states.transpose(1, 2).flatten(0, 1) for batch in batches]
        self._objective = Objective(
            network,
            config.objectives,
            student_distillation=StudentDistillation(std=torch.cat(states).std(dim=0)),
            student=config.teacher.student,
            reference_spectra=build_reference_spectra(network, dim=config.model.fusion.dim),
        ).to(batches[0].waveform.device)
        self._objective.train()
        self._network, self._config = network, config
        self._optimizer = build_optimizer(self._objective, config.optimizer)
        self._parameters = [p for p in self._objective.parameters() if p.requires_grad]
        self._average = MovingAverage(self._parameters, decay=config.optimizer.ema_decay)
        self.step = 0

    def learn(self, batch: Batch, *, rate: float) -> dict[str, Tensor]:
        """Make one step, and give the terms of the loss before it."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(batch.waveform.device.type, torch.bfloat16):
            loss, terms = self._objective(batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.optimizer.clip)
        if torch.isfinite(norm):
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average.update(self.step)
        return {"loss": loss.detach(), "norm": norm, **terms}

    def save(self, folder: Path) -> None:
        """Write the model with the mean of its weights, in half precision."""
        self._average.swap()
        save_model(folder, self._network, self._config.model, {"step": self.step}, half=True)
        self._average.swap()


def learning_rate(share: float, *, highest: float) -> float:
    """Give the learning rate after a share of the time: a short rise, then half a cosine."""
    if share < WARM_UP:
        return highest * share / WARM_UP
    return highest * 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def read_noises(folder: Path, *, device: torch.device) -> Tensor:
    """Read recorded noise, each repeated or cut to one length."""
    size = NOISE_SECONDS * SAMPLE_RATE
    rows = [np.resize(read_mono(path), size) for path in find_audio(folder)]
    return torch.from_numpy(np.stack(rows)).to(device)


def train(arguments: argparse.Namespace, follower: Follower) -> None:
    """Train for a time, and save the model at some points of it."""
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = load_config(RunConfig, arguments.config, overrides=arguments.overrides)
    network = build_assessor(config.model)
    start_from(network, config.start_from)
    labelling = Labelling(network, config, device=device, dnsmos=arguments.dnsmos)
    damage = MoreDamage(read_noises(arguments.noises, device=device))
    pool = Pool(arguments.capacity, device=device, seed=arguments.seed)

    def labelled() -> Batch:
        return labelling(draw(pool, damage, size=arguments.batch, more=arguments.more))

    while pool.arrived < arguments.wait_for:
        pool.add(follower.take(500))
    kept = [labelled() for _ in range(FIRST_BATCHES)]
    learner = Learner(network, config, kept)
    points = sorted({*arguments.save_at, 1.0})
    means = RunningMeans()
    began = time.monotonic()
    while points:
        passed_s = time.monotonic() - began
        share = min(1.0, passed_s / arguments.seconds)
        if share >= points[0]:
            learner.save(arguments.output / f"at_{points.pop(0):g}")
            continue
        pool.add(follower.take(200))
        if learner.step % arguments.hear == 0:
            kept = [*kept[-arguments.kept + 1 :], labelled()]
            batch = kept[-1]
        else:
            batch = kept[int(rng.integers(len(kept)))]
        terms = learner.learn(batch, rate=learning_rate(share, highest=config.optimizer.lr))
        means.add(terms, seconds=batch.waveform.numel() / SAMPLE_RATE)
        if learner.step % config.log_every == 0:
            tell(arguments.output, learner.step, passed_s, means.take(), pool)


def tell(output: Path, step: int, passed_s: float, means: Mapping[str, float], pool: Pool) -> None:
    """Add a line to the log, and print it."""
    figures: dict[str, Any] = {"step": step, "seconds": round(passed_s, 1)}
    figures |= {"arrived": pool.arrived, "unheard": pool.num_unheard}
    figures |= {name: round(mean, 4) for name, mean in means.items()}
    line = json.dumps(figures)
    output.mkdir(parents=True, exist_ok=True)
    with (output / "log.jsonl").open("a") as log:
        log.write(line + "\n")
    print(line, flush=True)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="run with a teacher, its student and start_from")
    parser.add_argument("simulations", type=Path, nargs="+", help="folders, being written to")
    parser.add_argument("--noises", type=Path, required=True, help="folder of recorded noise")
    parser.add_argument("--dnsmos", type=Path, help="folder of DNSMOS' networks (speechmos')")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="how long to train")
    parser.add_argument("--batch", type=int, default=128, help="recordings per step")
    parser.add_argument("--more", type=float, default=0.5, help="share that is damaged once more")
    parser.add_argument("--hear", type=int, default=3, help="steps per labelled batch")
    parser.add_argument("--kept", type=int, default=64, help="labelled batches to draw from")
    parser.add_argument("--capacity", type=int, default=90000, help="recordings on the device")
    parser.add_argument("--readers", type=int, default=6, help="processes that read, and give PESQ")
    parser.add_argument("--pesq-share", type=float, default=0.5)
    parser.add_argument("--wait-for", type=int, default=3000, help="recordings to begin with")
    parser.add_argument("--save-at", type=float, nargs="*", default=[0.5, 0.75], help="shares")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--override", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    # Before anything of CUDA: the readers are forked.
    follower = Follower(
        arguments.simulations, processes=arguments.readers, pesq_share=arguments.pesq_share
    )
    try:
        train(arguments, follower)
    finally:
        follower.close()


if __name__ == "__main__":
    main()
