"""What states a training run completely."""

import math
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from urgentmos.config import check_at_least
from urgentmos.data.pairs import MATCHINGS, Matching
from urgentmos.metrics import get_metric
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.precision import Precision

# PyTorch takes 64 bits; dropout of the processes is seeded by the numbers above the run's seed.
_SEEDS = 2**63


@dataclass
class DataConfig:
    """What is trained on, and how it is cut into batches.

    Attributes:
        manifests: Manifests in JSON lines.
        labels: Label tables merged onto the manifests; uids are then unique across these.
        pair_manifests: Pairs rated as pairs, in JSON lines. They are trained on as they are, beside
            those that ``pairs`` draws; their recordings have no other partner and no labels.
        validation_share: Share of the contents (``reference_id``) held out where ``meta.split``
            says nothing.
        cache: File of decoded waveforms (see `urgentmos.data.waveforms`): a recording is decoded
            once, by the first run that hears it. None decodes in every epoch.
        features: Folder of the hidden states of pretrained encoders without trainable layers (see
            `urgentmos.data.features`), computed once for each recording. None runs them in every
            step, as encoders that ``freeze`` keeps always are; a teacher needs a folder.
        max_seconds: Longest part of a recording heard at once; the rest is cut at random.
        min_seconds: Shortest part heard when recordings are cut at random.
        min_share: Smallest share of a recording heard; 1 cuts only what is too long.
        inverted_share: Share of recordings heard with the opposite polarity, others in every epoch:
            nobody hears which one it is. Stored hidden states are those of recordings as they are.
        batch_seconds: Padded seconds per batch and process, partners counted.
        workers: Processes that read audio; 0 reads in the training process.
        pairs: Weight of each matching by which partners are drawn; empty draws none.
        delta: Largest MOS difference that is a tie (UrgentMOS, Eq. 6), or comparison score of a
            file of ``pair_manifests`` that says by how much; verdicts alone stay as they are.
    """

    manifests: list[str]
    labels: list[str] = field(default_factory=list)
    pair_manifests: list[str] = field(default_factory=list)
    validation_share: float = 0.05
    cache: str | None = None
    features: str | None = None
    max_seconds: float = 10.0
    min_seconds: float = 2.0
    min_share: float = 1.0
    inverted_share: float = 0.0
    batch_seconds: float = 300.0
    workers: int = 0
    pairs: dict[str, float] = field(default_factory=lambda: {"ref": 1.0})
    delta: float = 0.5

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.manifests:
            raise ValueError("manifests: expected at least one")
        for key in ("manifests", "pair_manifests"):
            paths = [os.path.realpath(path) for path in getattr(self, key)]
            if twice := [path for path, count in Counter(paths).items() if count > 1]:
                raise ValueError(f"{key}: expected each file once, got {twice[0]} more than once")
        for name, weight in self.pairs.items():
            if name not in MATCHINGS:
                raise ValueError(f"pairs: unknown matching {name!r}; known: {', '.join(MATCHINGS)}")
            if weight < 0:
                raise ValueError(f"pairs.{name}: expected a weight of 0 or more, got {weight}")
        ranges = {
            "validation_share": (0 <= self.validation_share < 1, "0 to below 1"),
            "min_share": (0 < self.min_share <= 1, "above 0, up to 1"),
            "inverted_share": (0 <= self.inverted_share <= 1, "0 to 1"),
            "delta": (self.delta >= 0, "0 or more"),
            "min_seconds": (self.min_seconds >= 0, "0 or more"),
            "max_seconds": (self.max_seconds > 0, "above 0"),
            "batch_seconds": (self.batch_seconds < math.inf, "a bound"),
            "workers": (self.workers >= 0, "0 or more"),
        }
        for name, (fits, expected) in ranges.items():
            if not fits:
                raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)}")
        if self.batch_seconds < 2 * self.max_seconds:
            raise ValueError(
                f"batch_seconds: {self.batch_seconds} s cannot hold two recordings of up to "
                f"max_seconds = {self.max_seconds} s"
            )

    @property
    def matching(self) -> dict[Matching, float]:
        """The matchings that are used, by weight."""
        return {name: self.pairs[name] for name in MATCHINGS if self.pairs.get(name, 0.0) > 0}


@dataclass
class ObjectivesConfig:
    """What is minimised: the weighted sum of these losses; see `urgentmos.training.losses`.

    Attributes:
        absolute: Weight of the masked multi-metric loss.
        preference: Weight of CMOS and cross-entropy of the preference head.
        bradley_terry: Weight of Bradley-Terry on differences of the ``mos`` score.
        qamro: Weight of QAMRO on the ``mos`` score.
        distillation: Weight of predicting the teacher's hidden states from the network's frames.
        student_distillation: Weight of making the student's hidden states the teacher's.
        reference_spectra: Weight of predicting, frame by frame, the spectra of each recording's
            reference and of what differs from it (`urgentmos.training.reference_spectra`).
        corpus_bias: Weight of the penalty on one learned offset per corpus of the ``mos`` labels in
            the absolute loss (`urgentmos.training.corpus_bias`); 0 learns no offsets.
        regression: Penalty of the absolute loss.
        metric_weights: Weight of a metric in the absolute loss, 1 where not named.
        bradley_terry_weighting: ``mos_difference`` weighs clear pairs more, after MOS-RMBench.
        widest_gap: MOS gap that then weighs most.
        mirrored_pairs: The preference head learns each pair in both orders (UrgentMOS, 3.2.3);
            False, in the order in which it is drawn or rated (its Table 8).
    """

    absolute: float = 0.5
    preference: float = 0.5
    bradley_terry: float = 0.0
    qamro: float = 0.0
    distillation: float = 0.0
    student_distillation: float = 0.0
    reference_spectra: float = 0.0
    corpus_bias: float = 0.0
    regression: Literal["mse", "l1", "huber"] = "mse"
    metric_weights: dict[str, float] = field(default_factory=dict)
    bradley_terry_weighting: Literal["none", "mos_difference"] = "none"
    widest_gap: float = 2.0
    mirrored_pairs: bool = True

    def __post_init__(self) -> None:
        """Check that something is minimised, and the metric names."""
        for name, weight in (*self.weights.items(), *self.metric_weights.items()):
            if weight < 0:
                raise ValueError(f"{name}: expected a weight of 0 or more, got {weight}")
        if not any(self.weights.values()):
            raise ValueError("every objective has weight 0; expected at least one above 0")
        if self.widest_gap <= 0:
            raise ValueError(f"widest_gap: expected above 0, got {self.widest_gap}")
        self.metric_weights = {
            get_metric(name).name: weight for name, weight in self.metric_weights.items()
        }

    def weighs(self, metric: str) -> bool:
        """Tell whether the absolute loss learns a metric."""
        return self.absolute * self.metric_weights.get(metric, 1.0) > 0

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each objective."""
        return {
            "absolute": self.absolute,
            "preference": self.preference,
            "bradley_terry": self.bradley_terry,
            "qamro": self.qamro,
            "distillation": self.distillation,
            "student_distillation": self.student_distillation,
            "reference_spectra": self.reference_spectra,
            "corpus_bias": self.corpus_bias,
        }


@dataclass
class TeacherConfig:
    """A frozen encoder whose hidden states are learned.

    Attributes:
        encoder: The encoder.
        layers: Hidden states that are learned, by number, the input embedding being 0.
        student: Number of the model's encoder that is trained to reproduce these hidden states, in
            order; it must have as many, of the same width. None: no such encoder.
    """

    encoder: EncoderConfig
    layers: list[int]
    student: int | None = None

    def __post_init__(self) -> None:
        """Check that there is something to learn."""
        if not self.layers:
            raise ValueError("layers: expected at least one")


@dataclass
class OptimizerConfig:
    """AdamW and its learning rate.

    Attributes:
        lr: Highest learning rate.
        weight_decay: On matrices and kernels; norms, biases and layer weights are spared.
        betas: Decay of the two moments.
        schedule: After the warm-up: ``constant``, ``linear`` to 0, or ``cosine`` to 0 (close
            to one-cycle, with a linear warm-up and constant momentum).
        warmup_steps: Steps in which the rate rises from 0.
        clip: Largest gradient norm.
        accumulate: Batches per step and process; their labels count as those of one batch.
        ema_decay: Decay of the averaged weights that are validated and exported; 0 uses the
            weights as they are.
    """

    lr: float = 3e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    clip: float = 1.0
    accumulate: int = 1
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges."""
        if not (self.lr > 0 and self.clip > 0):
            raise ValueError(f"lr and clip: expected above 0, got {self.lr} and {self.clip}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay: expected 0 or more, got {self.weight_decay}")
        if math.inf in (self.lr, self.weight_decay):
            raise ValueError(
                "lr and weight_decay: expected finite numbers, got "
                f"{self.lr} and {self.weight_decay}"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: expected two of 0 to below 1, got {self.betas}")
        check_at_least(self, accumulate=1)
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps: expected 0 or more, got {self.warmup_steps}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay: expected 0 to below 1, got {self.ema_decay}")


@dataclass
class RunConfig:
    """A whole run: what is trained, on what, to which end and for how long.

    Attributes:
        model: The model.
        data: Recordings, pairs and batches.
        output: Run folder.
        steps: Optimizer steps.
        objectives: What is minimised.
        teacher: Encoder whose hidden states are learned, or None.
        start_from: Folder of a saved model, or a shipped model's name; its weights of like name and
            shape are the first. None starts from random ones.
        freeze: Parts of the model that keep those weights, by name, as ``encoders.2``, ``fusion``
            or ``groups.naturalness``.
        optimizer: AdamW and its learning rate.
        seed: Seed of weights, order, partners, windows and dropout.
        sharded: Divide weights, gradients and optimizer state among the processes (FSDP) instead of
            keeping all in each (DDP).
        precision: ``bfloat16`` runs matrix products and convolutions in bfloat16.
        validate_every: Steps between validations; the last step is always validated.
        save_every: Steps between checkpoints; the last step is always saved.
        log_every: Steps between points of the curves.
        best_by: Validation figure that the best model maximises.
        max_minutes: Stop, resumably, after the step that passes this time; None does not.
    """

    model: ModelConfig
    data: DataConfig
    output: str
    steps: int = 20000
    objectives: ObjectivesConfig = field(default_factory=ObjectivesConfig)
    teacher: TeacherConfig | None = None
    start_from: str | None = None
    freeze: list[str] = field(default_factory=list)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    seed: int = 0
    sharded: bool = False
    precision: Precision = "float32"
    validate_every: int = 1000
    save_every: int = 1000
    log_every: int = 20
    best_by: str = "lcc/mean"
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        """Check what no single part can see."""
        if min(self.steps, self.validate_every, self.save_every, self.log_every) < 1:
            raise ValueError(
                "steps, validate_every, save_every and log_every: expected at least 1, got "
                f"{self.steps}, {self.validate_every}, {self.save_every} and {self.log_every}"
            )
        if not 0 <= self.seed < _SEEDS:
            raise ValueError(f"seed: expected 0 or more, below 2^63, got {self.seed}")
        if self.max_minutes is not None and self.max_minutes < 0:
            raise ValueError(f"max_minutes: expected 0 or more, got {self.max_minutes}")
        weights = self.objectives.weights
        if (self.model.preference is not None) != (weights["preference"] > 0):
            raise ValueError(
                "objectives.preference is above 0 exactly where model.preference is set: an "
                f"untrained head must not be shipped; got {weights['preference']} and "
                f"{'a' if self.model.preference else 'no'} preference head"
            )
        if self.freeze and self.start_from is None:
            raise ValueError(
                "freeze: what is not trained needs trained weights; state start_from, or freeze "
                "nothing"
            )
        self._check_teacher()
        self._check_pairs()
        if (weights["bradley_terry"] or weights["qamro"]) and "mos" not in self.model.metrics:
            raise ValueError("bradley_terry and qamro rank the 'mos' score, which no group has")
        if weights["corpus_bias"] and not (weights["absolute"] and "mos" in self.model.metrics):
            raise ValueError("corpus_bias shifts 'mos' in the absolute loss: both are needed")
        for name in self.objectives.metric_weights:
            if name not in self.model.metrics:
                raise ValueError(f"objectives.metric_weights: the model does not predict {name!r}")
        self._check_heads()

    def _check_heads(self) -> None:
        objectives = self.objectives
        learned = {name for name in self.model.metrics if objectives.weighs(name)}
        if objectives.bradley_terry or objectives.qamro:
            learned.add("mos")
        for name in self.model.metrics:
            if name not in learned:
                raise ValueError(
                    f"nothing would train the head of {name!r}, and an untrained head must not be "
                    "shipped: raise objectives.absolute or its metric_weights above 0, or take it "
                    "out of model.groups"
                )

    def _check_teacher(self) -> None:
        objectives = self.objectives
        learned = objectives.distillation > 0 or objectives.student_distillation > 0
        if (self.teacher is not None) != learned:
            raise ValueError(
                "objectives.distillation or student_distillation is above 0 exactly where teacher "
                f"is set; got {objectives.distillation}, {objectives.student_distillation} and "
                f"{'a' if self.teacher else 'no'} teacher"
            )
        student = None if self.teacher is None else self.teacher.student
        if (student is not None) != (objectives.student_distillation > 0):
            raise ValueError(
                "objectives.student_distillation is above 0 exactly where teacher.student is set; "
                f"got {objectives.student_distillation} and "
                f"{'no student' if student is None else f'student {student}'}"
            )
        if student is not None and not 0 <= student < len(self.model.encoders):
            raise ValueError(
                f"teacher.student: expected 0 to {len(self.model.encoders) - 1}, the number of one "
                f"of the model's encoders, got {student}"
            )
        if self.teacher is not None and self.data.features is None:
            raise ValueError("a teacher needs data.features, the folder its hidden states are in")

    def _check_pairs(self) -> None:
        weights = self.objectives.weights
        learned = weights["preference"] > 0 or weights["bradley_terry"] > 0
        if learned and not (self.data.matching or self.data.pair_manifests):
            raise ValueError(
                "preference and bradley_terry need pairs; data.pairs draws none, and "
                "data.pair_manifests names none"
            )
        if self.data.pair_manifests and not learned:
            raise ValueError(
                "data.pair_manifests would not be learned from: neither objectives.preference nor "
                "objectives.bradley_terry is above 0"
            )
