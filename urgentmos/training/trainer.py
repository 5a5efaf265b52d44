"""The training loop."""

import contextlib
import copy
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE
from urgentmos.config import ConfigError
from urgentmos.data.dataset import Batch, BatchDataset, label_matrix
from urgentmos.data.manifest import ManifestError
from urgentmos.data.sampler import BatchPlan, Progress
from urgentmos.extras import require
from urgentmos.model.encoders import brings_weights
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.terminal_size import bar_size
from urgentmos.training.assembly import (
    compose_objective,
    open_stores,
    plan_training,
    plan_validation,
)
from urgentmos.training.config import RunConfig
from urgentmos.training.corpus import Corpus, load_corpus
from urgentmos.training.corpus_bias import number_corpora
from urgentmos.training.freeze import freeze
from urgentmos.training.objective import Objective
from urgentmos.training.optimization import MovingAverage, build_optimizer, set_learning_rate
from urgentmos.training.run_folder import RunFolder
from urgentmos.training.run_state import RunState, RunStateError, load_run_state, save_run_state
from urgentmos.training.running_means import RunningMeans
from urgentmos.training.sharding import copy_whole, divide, gather
from urgentmos.training.start_from import StartedFrom, start_from
from urgentmos.training.user_name import name_nameless_user

# While one process decodes a corpus or runs a frozen encoder over it, the others wait.
_PATIENCE = timedelta(days=1)


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which step and why."""


class Trainer:
    """Train a model from a configuration, alone or as one of several processes.

    Args:
        config: The run.
        resume: Go on from the run folder's last checkpoint; begin where nothing was saved yet. The
            same configuration then gives the same weights as a run that was never interrupted.

    Attributes:
        state: Where the run stands.
        begins_anew: Whether it begins at the first step, as ``resume`` does without a checkpoint.
        started_from: What became of the weights of ``start_from``; None without it, and where
            those of a checkpoint took their place.
        changes: Settings in which a resumed run differs from what it began with.

    Raises:
        ManifestError: The data cannot be used.
        ConfigError: ``best_by`` is no figure of this run, weights to start from do not fit, or the
            model has no part that is to be frozen, or random weights in it.
        RunStateError: The run folder holds another run, or cannot be resumed, as when it has more
            steps than are asked for.
        FileLockedError: Another run is writing the run folder.
        TrainingError: Accelerate is set up for FSDP, or takes each of several processes for a run
            of its own; or one process should share its weights.
    """

    def __init__(self, config: RunConfig, *, resume: bool = False) -> None:
        name_nameless_user()
        accelerate = require("accelerate", extra="train")
        precision = "bf16" if config.precision == "bfloat16" else "no"
        # The device is chosen by accelerate; its own data sharding and schedules are not used.
        patience = accelerate.InitProcessGroupKwargs(timeout=_PATIENCE)
        self._accelerator: Any = accelerate.Accelerator(
            cpu=_several_on_cpu(), mixed_precision=precision, kwargs_handlers=[patience]
        )
        if self._accelerator.distributed_type == accelerate.DistributedType.FSDP:
            raise TrainingError(
                "accelerate is set up for FSDP, but the weights are divided here: launch without "
                "--use_fsdp, with sharded=true"
            )
        self._config = config
        self._rank: int = self._accelerator.process_index
        self._num_ranks: int = self._accelerator.num_processes
        self._check_together()
        self.corpus = self._load_corpus()
        self.folder = RunFolder(Path(config.output), write=self.is_main)
        torch.manual_seed(config.seed)
        network = build_assessor(config.model)
        self.started_from = self._start_from(network)
        random = [] if self.started_from is None else self.started_from.random
        freeze(network, config.freeze, random=random)
        # One process makes them, the others then find them.
        with self._accelerator.main_process_first():
            stores = open_stores(config, self.corpus, network, device=self._accelerator.device)
        objective = compose_objective(
            config, self.corpus, network, stores, num_processes=self._num_ranks
        )
        # Of divided weights a whole copy is validated and exported; it waits outside the device.
        self.network = copy.deepcopy(network).cpu().eval() if config.sharded else network
        # From here on the processes draw different dropout.
        torch.manual_seed(config.seed + 1 + self._rank)
        objective.to(self._accelerator.device)
        self._module, self._optimizer = self._distribute(objective)
        self._parameters = [p for p in self._module.parameters() if p.requires_grad]
        decay = config.optimizer.ema_decay
        self._average = MovingAverage(self._parameters, decay=decay) if decay else None
        self._sampler, self._dataset = plan_training(
            config, self.corpus, stores, rank=self._rank, num_ranks=self._num_ranks
        )
        self._validation = plan_validation(
            config, self.corpus, stores, rank=self._rank, num_ranks=self._num_ranks
        )
        self._check_best_by()
        with self.folder.alone():
            self.state = self._start(resume=resume)
        self.changes = [] if self.begins_anew else self.folder.changes(config)
        if not self.begins_anew:
            self.started_from = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints what all of them do."""
        return self._rank == 0

    def train(self, *, until: int | None = None) -> RunState:
        """Train up to a step, validate, checkpoint, and export the model at the end.

        Args:
            until: Step to stop after; the configured last step when None.

        Returns:
            Where the run stands.

        Raises:
            TrainingError: The loss is no longer finite.
            FileLockedError: Another run is writing the run folder.
        """
        last = self._config.steps if until is None else min(until, self._config.steps)
        began = time.monotonic()
        self._module.train()
        batches = self._batches(self.state.progress)
        bar = tqdm(
            total=self._config.steps,
            initial=self.state.step,
            desc="training",
            unit="step",
            disable=not self.is_main,
            **bar_size(),
        )
        # Only now: the loader's processes would hold the lock too, and outlive a killed run.
        first_step = self.state.step + 1
        with self.folder.alone(), self.folder.curves(first_step=first_step) as curves, bar:
            means = RunningMeans()
            while self.state.step < last:
                self._step(batches, means)
                bar.update()
                finished = self.state.step == self._config.steps
                stop = finished or self.state.step == last or self._is_late(began)
                saving = stop or self.state.step % self._config.save_every == 0
                validating = finished or self.state.step % self._config.validate_every == 0
                # No model and no checkpoint is a place for weights that a loss without a number has
                # spoilt.
                if saving or validating or self.state.step % self._config.log_every == 0:
                    self._log(means, curves, bar)
                if validating:
                    self._validate(curves)
                if saving:
                    self._save()
                if stop:
                    break
            if self.state.step == self._config.steps:
                self._export("final")
        return self.state

    def _step(self, batches: Iterator[Batch], means: RunningMeans) -> None:
        optimizer = self._config.optimizer
        set_learning_rate(
            self._optimizer, self.state.step, config=optimizer, steps=self._config.steps
        )
        for micro in range(optimizer.accumulate):
            batch = next(batches).to(self._accelerator.device)
            last = micro + 1 == optimizer.accumulate
            with contextlib.nullcontext() if last else self._accelerator.no_sync(self._module):
                with self._accelerator.autocast():
                    loss, terms = self._module(batch)
                self._accelerator.backward(loss / optimizer.accumulate)
            means.add(
                {"loss": loss.detach(), **terms}, seconds=batch.waveform.numel() / SAMPLE_RATE
            )
            self.state.epoch, self.state.batch = batch.after
        norm = self._accelerator.clip_grad_norm_(self._parameters, optimizer.clip)
        means.add({"gradient_norm": gather(norm.detach())}, seconds=0.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        if self._average is not None:
            self._average.update(self.state.step)

    def _log(self, means: RunningMeans, curves: Any, bar: "tqdm[Any]") -> None:
        # Of all processes: a loss without a number in one stops them all.
        figures = self._average_over_processes(means.take())
        figures["audio_seconds_per_second"] *= self._num_ranks
        if not math.isfinite(figures["loss"]) or not math.isfinite(figures["gradient_norm"]):
            raise TrainingError(
                f"step {self.state.step}: loss {figures['loss']}, gradient norm "
                f"{figures['gradient_norm']}; lower optimizer.lr, or look for labels far outside "
                "their range, and resume from the last checkpoint"
            )
        figures["learning_rate"] = self._optimizer.param_groups[0]["lr"]
        figures["epoch"] = float(self.state.epoch)
        for name, value in figures.items():
            curves.add_scalar(f"train/{name}", value, self.state.step)
        bar.set_postfix(loss=f"{figures['loss']:.4f}", epoch=self.state.epoch, refresh=False)

    def _validate(self, curves: Any) -> None:
        figures = self.validate()
        for name, value in figures.items():
            curves.add_scalar(f"validation/{name}", value, self.state.step)
        figure = figures[self._config.best_by]
        if not math.isnan(figure) and (self.state.best is None or figure > self.state.best):
            self.state.best, self.state.best_step = figure, self.state.step
            self._export("best", figures)
        if self.is_main:
            self.folder.add_history(self.state.step, figures)
            shown = {k: v for k, v in figures.items() if not k.startswith("srcc/")}
            text = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
            tqdm.write(f"step {self.state.step}: {text}", file=sys.stderr)

    def validate(self) -> dict[str, float]:
        """Score the validation recordings with the weights that would be exported."""
        device = self._accelerator.device
        with self._exported_weights():
            scores: Tensor = self._validation.score(self.network, device=device)
            scores = self._accelerator.reduce(scores, reduction="sum")
            figures = self._validation.figures(scores.cpu().double().numpy())
            if self._config.model.preference is not None:
                figures |= self._validation.compare(self.network, device=device)
        # Devices round differently, and all must agree on which model is the best.
        return self._average_over_processes(figures)

    def _average_over_processes(self, figures: dict[str, float]) -> dict[str, float]:
        if self._num_ranks == 1:
            return figures
        values = torch.tensor(
            list(figures.values()), dtype=torch.float64, device=self._accelerator.device
        )
        means = self._accelerator.reduce(values, reduction="mean").tolist()
        return dict(zip(figures, means, strict=True))

    def close(self) -> None:
        """Leave the other processes; nothing can be done with the trainer afterwards."""
        self._accelerator.end_training()

    @contextlib.contextmanager
    def _exported_weights(self) -> Iterator[None]:
        self._module.eval()
        if self._average is not None:
            self._average.swap()
        try:
            if self._config.sharded:
                copy_whole(self._module.network, self.network.to(self._accelerator.device))
            yield
        finally:
            if self._average is not None:
                self._average.swap()
            self._module.train()
            if self._config.sharded:
                self.network.cpu()

    def _export(self, name: str, figures: dict[str, float] | None = None) -> None:
        with self._exported_weights():
            if self.is_main:
                self.folder.export(name, self.network, self._config, self._card(figures))
        self._accelerator.wait_for_everyone()

    def _card(self, figures: dict[str, float] | None) -> dict[str, Any]:
        labels = label_matrix(self.corpus.train.recordings, self._config.model.metrics)
        counts = (~np.isnan(labels)).sum(axis=0).tolist()
        return {
            "step": self.state.step,
            "data_digest": self.corpus.digest,
            "training_recordings": len(self.corpus.train.recordings),
            "validation_recordings": len(self.corpus.validation.recordings),
            "native_pairs": 0 if self.corpus.native is None else len(self.corpus.native.a),
            "labels_by_metric": dict(zip(self._config.model.metrics, counts, strict=True)),
            "objectives": asdict(self._config.objectives),
            "validation": figures or {},
        } | self._corpus_offsets()

    def _corpus_offsets(self) -> dict[str, dict[str, float]]:
        bias = self._accelerator.unwrap_model(self._module).corpus_bias
        if bias is None:
            return {}
        names, _ = number_corpora(self.corpus.train.recordings)
        return {"corpus_offsets": dict(zip(names, bias.offsets().tolist(), strict=True))}

    def _save(self) -> None:
        save_run_state(
            self.folder.last,
            self.state,
            module=self._module,
            optimizer=self._optimizer.optimizer,
            average=self._average,
            rank=self._rank,
            barrier=self._accelerator.wait_for_everyone,
        )

    def _start_from(self, network: AssessorNetwork) -> StartedFrom | None:
        if self._config.start_from is None:
            return None
        encoders = enumerate(self._config.model.encoders)
        bringing = [number for number, encoder in encoders if brings_weights(encoder)]
        return start_from(network, self._config.start_from, bringing=bringing)

    def _start(self, *, resume: bool) -> RunState:
        digest, num_processes = self.corpus.digest, self._num_ranks
        self.begins_anew = not resume or not self.folder.is_resumable(
            digest=digest, num_processes=num_processes
        )
        if self.begins_anew:
            # All have looked before the first of them writes.
            self._accelerator.wait_for_everyone()
            self.folder.start(self._config, digest=digest, num_processes=num_processes)
            self._accelerator.wait_for_everyone()
            return RunState(best_by=self._config.best_by)
        state = load_run_state(
            self.folder.last,
            module=self._module,
            optimizer=self._optimizer.optimizer,
            average=self._average,
            rank=self._rank,
        )
        steps = self._config.steps
        if state.step > steps:
            raise RunStateError(
                f"{self.folder.path} has done {state.step} steps and is to have {steps}: "
                f"nothing is left to do; state steps={state.step} or more, or name another output"
            )
        if state.best_by not in (None, self._config.best_by):
            # Two figures cannot be compared: the next validation sets the best of the new one.
            state.best, state.best_step = None, 0
        state.best_by = self._config.best_by
        self.folder.cut_history(state.step)
        return state

    def _check_together(self) -> None:
        # Otherwise each would train all of it, and write over the others' run folder.
        if self._num_ranks == 1 and _num_launched() > 1:
            raise TrainingError(
                f"WORLD_SIZE says that this is one of {_num_launched()} processes, but accelerate "
                "found it alone: launch with torchrun (on Apple's GPUs with "
                "ACCELERATE_USE_CPU=true), or unset WORLD_SIZE to train in one process"
            )

    def _check_best_by(self) -> None:
        # Now, and not when hours of training come to their first validation.
        known = self._validation.names(self.network)
        if self._config.best_by not in known:
            raise ConfigError(
                f"best_by: expected one of this run's figures, got {self._config.best_by!r}; it "
                f"will have {', '.join(sorted(known)) or 'none'}. A correlation needs two "
                "validation recordings with different labels"
            )

    def _load_corpus(self) -> Corpus:
        # One process makes the cache, the others then find it.
        with self._accelerator.main_process_first():
            return load_corpus(
                self._config.data,
                metrics=self._config.model.metrics,
                mos_bounds=self._config.model.head_bounds("mos"),
                with_references=self._config.objectives.reference_spectra > 0,
            )

    def _distribute(self, objective: Objective) -> tuple[Any, Any]:
        """Set the objective up for several processes, and make its optimizer."""
        if not self._config.sharded:
            optimizer = build_optimizer(objective, self._config.optimizer)
            module, prepared = self._accelerator.prepare(objective, optimizer)
            return module, prepared
        if self._num_ranks == 1:
            raise TrainingError(
                "sharded: expected several processes to share the weights, got one; launch with "
                "torchrun, or leave it out"
            )
        if objective.corpus_bias is not None:
            raise TrainingError("sharded: corpus_bias cannot be divided; leave one of them out")
        divide(objective, device=self._accelerator.device, num_processes=self._num_ranks)
        optimizer = build_optimizer(objective, self._config.optimizer)
        return objective, self._accelerator.prepare_optimizer(optimizer, device_placement=False)

    def _batches(self, progress: Progress) -> Iterator[Batch]:
        workers = self._config.data.workers
        loader = DataLoader(
            _Told(self._dataset),
            batch_size=None,
            sampler=self._sampler.plans(progress),
            num_workers=workers,
            # Left to itself the loader would draw its workers' seed from the global generator,
            # and a resumed run would have drawn once more than an uninterrupted one.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, ManifestError):
                raise batch
            yield batch

    def _is_late(self, began: float) -> bool:
        if self._config.max_minutes is None:
            return False
        late = time.monotonic() - began > 60 * self._config.max_minutes
        flag = torch.tensor(float(late), device=self._accelerator.device)
        # The clocks differ; all processes must stop at one step.
        return bool(self._accelerator.reduce(flag, reduction="sum") > 0)


class _Told(Dataset[Batch | ManifestError]):
    """Batches, and in place of one that cannot be read the error that says why.

    Raised in a worker, it would come out as the text of a traceback.
    """

    def __init__(self, dataset: BatchDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, plan: BatchPlan) -> Batch | ManifestError:
        try:
            return self._dataset[plan]
        except ManifestError as error:
            return error


def _num_launched() -> int:
    """Count the processes that a launcher such as torchrun says it has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _several_on_cpu() -> bool:
    """Tell whether several processes were launched on a machine that has nothing but processors.

    Unless told so, accelerate takes each of them for a run of its own there.
    """
    launched = _num_launched() > 1 and "LOCAL_RANK" in os.environ
    return launched and not torch.accelerator.is_available()
