"""Teach one encoder of a model to be a small copy of its run's teacher, before anything else.

The encoder alone is trained, on recordings without their labels: its hidden states are to be the
teacher's, layer by layer (``teacher.layers``), and what the teacher's own output says of the last
of them is to be what it says of its own. All other weights are those of ``start_from``, a model
whose heads work on the teacher's hidden states and then on the copy's, or an earlier copy to go on
with. The configuration and the run folder are those of ``urgentmos train``, which goes on from
``OUTPUT/final``; a killed run goes on with ``--resume``.

``python recipes/default/distill.py configs/default.yaml start_from=accurate output=OUTPUT
steps=7500 optimizer.lr=1e-3``
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE
from urgentmos.config import load_config
from urgentmos.data.dataset import Batch, BatchDataset, label_matrix
from urgentmos.data.features import FeatureStore
from urgentmos.data.sampler import BatchSampler, Progress, Window
from urgentmos.model.checkpoint import WEIGHTS_FILE, find_model
from urgentmos.model.encoders import Encoder, EncoderOutput, build_encoder
from urgentmos.model.encoders.distill_mos_head import DistillMosHead
from urgentmos.model.encoders.distill_mos_weights import load_package_weights
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.training.assembly import open_stores
from urgentmos.training.config import RunConfig
from urgentmos.training.corpus import Corpus, Split, load_corpus
from urgentmos.training.distillation import build_student_distillation
from urgentmos.training.optimization import MovingAverage, build_optimizer, set_learning_rate
from urgentmos.training.run_folder import RunFolder
from urgentmos.training.run_state import RunState, load_run_state, save_run_state
from urgentmos.training.running_means import RunningMeans
from urgentmos.training.start_from import start_from

VALIDATION_BATCHES = 16


class StudentLoss:
    """How far the copy is from the teacher."""

    def __init__(
        self,
        network: AssessorNetwork,
        student: Encoder,
        store: FeatureStore,
        *,
        score_weight: float,
    ) -> None:
        """Take the network that the copy is a part of, and the teacher's hidden states."""
        self.network, self.student = network, student
        self.score_weight = score_weight
        self.distillation = build_student_distillation(store, student)
        self.head = DistillMosHead()
        self.head.load_package(load_package_weights())

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Give the error of the hidden states, the squared one of the score, and the loss."""
        teacher = batch.teacher
        heard = self.network.prepare(batch.waveform, batch.lengths)
        with torch.autocast("cpu", torch.bfloat16):
            given: EncoderOutput = self.student(*heard)
        given = EncoderOutput(given.hidden_states.float(), given.lengths)
        wanted = self.head(teacher.hidden_states[:, -1], teacher.lengths)
        found = self.head(given.hidden_states[:, -1], given.lengths)
        states, score = self.distillation(given, teacher), (found - wanted).square().mean()
        loss = states + self.score_weight * score
        return {"loss": loss, "states": states, "score": score}


def begin(network: AssessorNetwork, config: RunConfig) -> None:
    """Take all weights but the copy's from a model whose encoder of that number is the teacher.

    The copy's Transformer layers begin as those of the teacher that end in the same states. Of the
    model's layer mix, each hidden state of the copy gets the share of those up to its own. From an
    earlier copy everything is taken.
    """
    number, layers = config.teacher.student, config.teacher.layers
    student, mix = f"encoders.{number}.", f"fusion.mixes.{number}.weights"
    random = start_from(network, config.start_from).random
    if not random:
        return
    odd = [name for name in random if not name.startswith(student) and name != mix]
    if odd or not any(name.startswith(student) for name in random):
        raise SystemExit(f"{config.start_from}: has no {(odd or random)[0]} for this model")
    teacher = build_encoder(config.teacher.encoder)
    for copy, layer in zip(network.encoders[number].layers, layers[1:], strict=True):
        copy.load_state_dict(teacher.layers[layer - 1].state_dict())
    shares = load_file(find_model(config.start_from) / WEIGHTS_FILE)[mix].float().softmax(dim=0)
    bounds = [layer + 1 for layer in layers]
    parts = [shares[a:b].sum() for a, b in zip([0, *bounds], bounds, strict=False)]
    network.state_dict()[mix].copy_(torch.stack(parts).log())


def batches(
    split: Split, store: FeatureStore, config: RunConfig, start: Progress
) -> Iterator[Batch]:
    """Read recordings with the teacher's hidden states, in random order without end."""
    sampler = BatchSampler(
        split.waveforms.lengths,
        [recording.uid for recording in split.recordings],
        batch_samples=round(config.data.batch_seconds * SAMPLE_RATE),
        window=Window(max_samples=round(config.data.max_seconds * SAMPLE_RATE)),
        seed=config.seed,
    )
    labels = label_matrix(split.recordings, [])
    dataset = BatchDataset(split.waveforms, labels, teacher=store.select(split.positions))
    return map(dataset.__getitem__, sampler.plans(start))


def main() -> None:
    """Train the copy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="run with a teacher, its student and start_from")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--score", type=float, default=1.0, help="weight beside the states")
    arguments = parser.parse_args()

    config = load_config(RunConfig, arguments.config, overrides=arguments.overrides)
    torch.manual_seed(config.seed)
    corpus = load_corpus(config.data, metrics=config.model.metrics)
    network = build_assessor(config.model)
    begin(network, config)
    student = network.encoders[config.teacher.student]
    store = open_stores(config, corpus, network, device=torch.device("cpu")).teacher
    student_loss = StudentLoss(network, student, store, score_weight=arguments.score)
    train(student_loss, config, corpus, store, resume=arguments.resume)


def train(
    student_loss: StudentLoss,
    config: RunConfig,
    corpus: Corpus,
    store: FeatureStore,
    *,
    resume: bool,
) -> None:
    """Train the copy, validate it, and keep checkpoints and the last model."""
    student = student_loss.student
    optimizer = build_optimizer(student, config.optimizer)
    average = MovingAverage(student.parameters(), decay=config.optimizer.ema_decay)
    folder, state = RunFolder(Path(config.output), write=True), RunState()
    checkpoint = {"module": student, "optimizer": optimizer, "average": average, "rank": 0}
    if resume and folder.is_resumable(digest=corpus.digest, num_processes=1):
        state = load_run_state(folder.last, **checkpoint)
        folder.cut_history(state.step)
    else:
        folder.start(config, digest=corpus.digest, num_processes=1)
    drawn = batches(corpus.train, store, config, state.progress)
    bar = tqdm(total=config.steps, initial=state.step, desc="distillation", unit="step")
    with folder.alone(), folder.curves(first_step=state.step + 1) as curves, bar:
        means = RunningMeans()
        while state.step < config.steps:
            batch = next(drawn)
            set_learning_rate(optimizer, state.step, config=config.optimizer, steps=config.steps)
            errors = learn(student_loss, batch, optimizer, clip=config.optimizer.clip)
            state.step += 1
            state.epoch, state.batch = batch.after
            average.update(state.step)
            heard = batch.waveform.numel() / SAMPLE_RATE
            means.add(errors, seconds=heard)
            bar.update()
            last = state.step == config.steps
            if state.step % config.log_every == 0:
                for name, value in means.take().items():
                    curves.add_scalar(f"train/{name}", value, state.step)
            if last or state.step % config.validate_every == 0:
                average.swap()
                left = validate(student_loss, batches(corpus.validation, store, config, Progress()))
                folder.add_history(state.step, left)
                tqdm.write(f"{state.step}: left on validation: {show(left)}")
                if last:
                    folder.export("final", student_loss.network, config, {"distillation": left})
                average.swap()
            if last or state.step % config.save_every == 0:
                save_run_state(folder.last, state, **checkpoint, barrier=lambda: None)


def learn(
    student_loss: StudentLoss, batch: Batch, optimizer: torch.optim.Optimizer, *, clip: float
) -> dict[str, Tensor]:
    """Make one step, and give the errors before it."""
    errors = student_loss(batch)
    errors["loss"].backward()
    nn.utils.clip_grad_norm_(student_loss.student.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {name: error.detach() for name, error in errors.items()}


def show(errors: dict[str, float]) -> str:
    """Write errors in a line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in errors.items())


def validate(student_loss: StudentLoss, drawn: Iterator[Batch]) -> dict[str, float]:
    """Measure what is left on a sample of recordings kept out of training."""
    with torch.no_grad():
        errors = [student_loss(next(drawn)) for _ in range(VALIDATION_BATCHES)]
    return {name: float(np.mean([error[name] for error in errors])) for name in errors[0]}


if __name__ == "__main__":
    main()
