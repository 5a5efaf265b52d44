"""What a run is put together from: hidden states on disk, the objective, batches, validation."""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch

from urgentmos.audio import SAMPLE_RATE
from urgentmos.config import ConfigError
from urgentmos.data.array_store import recording_keys
from urgentmos.data.dataset import BatchDataset, label_matrix
from urgentmos.data.features import FeatureStore
from urgentmos.data.manifest import ManifestError
from urgentmos.data.pairs import PairTable
from urgentmos.data.sampler import BatchSampler, Window
from urgentmos.model.encoders import Encoder, build_encoder
from urgentmos.model.encoders.pretrained import PretrainedEncoder
from urgentmos.model.network import AssessorNetwork
from urgentmos.training.config import RunConfig
from urgentmos.training.corpus import Corpus, Split
from urgentmos.training.corpus_bias import build_corpus_bias, number_corpora
from urgentmos.training.distillation import build_distillation, build_student_distillation
from urgentmos.training.feature_stores import FeatureStores
from urgentmos.training.objective import Objective
from urgentmos.training.reference_spectra import build_reference_spectra
from urgentmos.training.validation import Validation


@dataclass(frozen=True)
class Stores:
    """Hidden states on disk.

    Attributes:
        encoded: Those of the model's frozen encoders, by the encoder's number.
        teacher: Those that are learnt; None without a teacher.
    """

    encoded: dict[int, FeatureStore] = field(default_factory=dict)
    teacher: FeatureStore | None = None

    def select(self, split: Split) -> "Stores":
        """Give those of one side's recordings."""
        return Stores(
            {number: store.select(split.positions) for number, store in self.encoded.items()},
            None if self.teacher is None else self.teacher.select(split.positions),
        )


def open_stores(
    config: RunConfig, corpus: Corpus, network: AssessorNetwork, *, device: torch.device
) -> Stores:
    """Open, or compute, the stores of hidden states that a run reads; moves the network to device.

    Raises:
        ConfigError: The teacher has no such layer.
    """
    if config.data.features is None:
        return Stores()
    stores = FeatureStores(
        Path(config.data.features),
        corpus.waveforms,
        keys=recording_keys(corpus.recordings),
        precision=config.precision,
    )
    network.to(device)
    find = functools.partial(stores.find, network=network, level=config.model.level)
    encoded = {
        number: find(encoder, stated)
        for number, (encoder, stated) in enumerate(
            zip(network.encoders, config.model.encoders, strict=True)
        )
        if isinstance(encoder, PretrainedEncoder) and encoder.frozen
    }
    if config.teacher is None:
        return Stores(encoded)
    encoder = build_encoder(config.teacher.encoder, where="teacher.encoder")
    _check_layers(config.teacher.layers, encoder)
    teacher = find(encoder, config.teacher.encoder, layers=config.teacher.layers)
    return Stores(encoded, teacher)


def _check_layers(layers: list[int], encoder: Encoder) -> None:
    for layer in layers:
        if not 0 <= layer < encoder.num_layers:
            raise ConfigError(
                f"teacher.layers: expected 0 to {encoder.num_layers - 1}, the hidden states the "
                f"encoder gives; got {layer}"
            )


def compose_objective(
    config: RunConfig,
    corpus: Corpus,
    network: AssessorNetwork,
    stores: Stores,
    *,
    num_processes: int,
) -> Objective:
    """Put the network and the losses of a run together."""
    distillation, student_distillation, reference_spectra, corpus_bias = None, None, None, None
    student = None if config.teacher is None else config.teacher.student
    if stores.teacher is not None and config.objectives.distillation:
        distillation = build_distillation(
            stores.teacher,
            dim=config.model.fusion.dim,
            from_group=network.preference is not None,
        )
    if stores.teacher is not None and student is not None:
        encoder = cast(Encoder, network.encoders[student])
        student_distillation = build_student_distillation(stores.teacher, encoder)
    if config.objectives.reference_spectra:
        reference_spectra = build_reference_spectra(network, dim=config.model.fusion.dim)
    if config.objectives.corpus_bias:
        corpus_bias = build_corpus_bias(corpus.train.recordings)
    return Objective(
        network,
        config.objectives,
        distillation=distillation,
        student_distillation=student_distillation,
        student=student,
        reference_spectra=reference_spectra,
        corpus_bias=corpus_bias,
        num_batches=num_processes * config.optimizer.accumulate,
    )


def _check_pairs(config: RunConfig, table: PairTable, *, native: bool) -> None:
    learned = config.objectives.preference > 0 or config.objectives.bradley_terry > 0
    if native or not learned:
        return
    drawn = any(
        len(table.pairs(matching, ordered=False, cap=1, tie=-1.0, seed=0)[0])
        for matching in config.data.matching
    )
    if not drawn:
        raise ManifestError(
            "no two training recordings make a pair that says which is better, so nothing would "
            "train the preference: label 'mos', or state meta.family and meta.strength, or set "
            "objectives.preference and bradley_terry to 0 and model.preference to null (data.pairs "
            f"asks for {', '.join(config.data.matching)})"
        )


def plan_training(
    config: RunConfig, corpus: Corpus, stores: Stores, *, rank: int, num_ranks: int
) -> tuple[BatchSampler, BatchDataset]:
    """Say which batches a process trains on, and make what turns their plans into batches."""
    data, train, table = config.data, corpus.train, None
    if data.matching or corpus.native is not None:
        table = PairTable(train.recordings, delta=data.delta, native=corpus.native)
        _check_pairs(config, table, native=corpus.native is not None)
    sampler = BatchSampler(
        train.waveforms.lengths,
        [recording.uid for recording in train.recordings],
        batch_samples=round(data.batch_seconds * SAMPLE_RATE),
        window=Window(
            max_samples=round(data.max_seconds * SAMPLE_RATE),
            min_samples=round(data.min_seconds * SAMPLE_RATE),
            min_share=data.min_share,
        ),
        seed=config.seed,
        inverted_share=data.inverted_share,
        table=table,
        matching=data.matching,
        rank=rank,
        num_ranks=num_ranks,
        accumulate=config.optimizer.accumulate,
    )
    own = stores.select(train)
    dataset = BatchDataset(
        train.waveforms,
        label_matrix(train.recordings, config.model.metrics),
        table=table,
        encoded=own.encoded,
        teacher=own.teacher,
        references=corpus.references,
        corpora=number_corpora(train.recordings)[1],
    )
    return sampler, dataset


def plan_validation(
    config: RunConfig, corpus: Corpus, stores: Stores, *, rank: int, num_ranks: int
) -> Validation:
    """Make what scores a process's share of the validation recordings."""
    validation = corpus.validation
    return Validation(
        validation.recordings,
        validation.waveforms,
        metrics=config.model.metrics,
        batch_samples=round(config.data.batch_seconds * SAMPLE_RATE),
        delta=config.data.delta,
        encoded=stores.select(validation).encoded,
        rank=rank,
        num_ranks=num_ranks,
    )
