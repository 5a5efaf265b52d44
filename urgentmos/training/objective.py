"""One training step's forward pass: network outputs to the weighted sum of the objectives."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from urgentmos.data.dataset import Batch
from urgentmos.metrics import METRICS
from urgentmos.model.encoders import EncoderOutput
from urgentmos.model.network import AssessorNetwork, NetworkOutput
from urgentmos.training.config import ObjectivesConfig
from urgentmos.training.corpus_bias import CorpusBias
from urgentmos.training.distillation import Distillation, StudentDistillation
from urgentmos.training.losses import (
    absolute_loss,
    bradley_terry_loss,
    mos_difference_weight,
    preference_loss,
    qamro_loss,
)
from urgentmos.training.reference_spectra import ReferenceSpectra


class Objective(nn.Module):
    """The network together with what it is trained for.

    The loss is computed inside ``forward`` so that whatever wraps a module for several processes,
    or for mixed precision, sees every parameter used in one forward pass.

    Args:
        network: Network to train.
        config: Weights of the objectives.
        distillation: Learns the teacher's hidden states; None where they are not predicted.
        student_distillation: Makes the student's hidden states the teacher's; None without one.
        student: Number of the encoder that becomes the teacher's copy.
        reference_spectra: Learns the spectra of the references; None where they are not predicted.
        corpus_bias: Learns what each corpus adds to its ``mos`` labels; None learns no offsets.
        num_batches: Batches of a step, of all processes; their gradients are averaged.
    """

    scales: Tensor
    metric_weights: Tensor

    def __init__(
        self,
        network: AssessorNetwork,
        config: ObjectivesConfig,
        *,
        distillation: Distillation | None = None,
        student_distillation: StudentDistillation | None = None,
        student: int | None = None,
        reference_spectra: ReferenceSpectra | None = None,
        corpus_bias: CorpusBias | None = None,
        num_batches: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.distillation = distillation
        self.student_distillation = student_distillation
        self._student = student
        self.reference_spectra = reference_spectra
        self.corpus_bias = corpus_bias
        self._config = config
        self._num_batches = num_batches
        metrics = network.metrics
        scales = [METRICS[name].scale for name in metrics]
        weights = [config.metric_weights.get(name, 1.0) for name in metrics]
        self.register_buffer("scales", torch.tensor(scales), persistent=False)
        self.register_buffer("metric_weights", torch.tensor(weights), persistent=False)

    def forward(self, batch: Batch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Compute the loss of one batch.

        Returns:
            The weighted sum, and each objective's own value, detached. Averaged over the batches of
            a step, both are those of the global batch. QAMRO, both distillations and the spectra of
            references are the exceptions: the one ranks within a batch, the others are each batch's
            own mean.
        """
        encoded = {i: EncoderOutput(*states) for i, states in batch.encoded.items()}
        terms: dict[str, Tensor] = {}
        distillation, student = self.student_distillation, self._student
        if distillation is not None and student is not None and batch.teacher is not None:
            heard = self.network.prepare(batch.waveform, batch.lengths)
            encoded[student] = self.network.encoders[student](*heard)
            given = distillation(encoded[student], batch.teacher)
            terms["student_distillation"] = batch.weighted * given
        output: NetworkOutput = self.network(batch.waveform, batch.lengths, encoded=encoded)
        terms |= self._terms(output, batch)
        total = torch.zeros((), device=batch.waveform.device)
        for name, value in terms.items():
            total = total + self._config.weights[name] * value
        return total, {name: value.detach() for name, value in terms.items()}

    def _terms(self, output: NetworkOutput, batch: Batch) -> dict[str, Tensor]:
        weights = self._config.weights
        terms: dict[str, Tensor] = {}
        scores = {name: score.float() for name, score in output.scores.items()}
        if weights["absolute"]:
            as_rated = self._as_rated(scores, batch)
            terms["absolute"] = self._num_batches * absolute_loss(
                torch.stack([as_rated[name] for name in self.network.metrics], dim=1),
                batch.labels,
                scales=self.scales,
                weights=self.metric_weights,
                regression=self._config.regression,
                counts=batch.label_counts,
            )
        if weights["preference"]:
            terms["preference"] = self._num_batches * self._preference(output, batch)
        if weights["bradley_terry"]:
            terms["bradley_terry"] = self._num_batches * self._bradley_terry(scores["mos"], batch)
        if weights["qamro"]:
            labels = batch.labels[:, self.network.metrics.index("mos")]
            terms["qamro"] = qamro_loss(scores["mos"], labels)
        if self.distillation is not None and batch.teacher is not None:
            terms["distillation"] = batch.weighted * self.distillation(output, batch.teacher)
        if self.reference_spectra is not None and batch.reference is not None:
            missed = self.reference_spectra(output, batch.waveform, batch.reference, batch.lengths)
            terms["reference_spectra"] = batch.weighted * missed
        if self.corpus_bias is not None:
            terms["corpus_bias"] = self.corpus_bias.penalty()
        return terms

    def _as_rated(self, scores: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Shift ``mos`` to what each recording's own corpus would give."""
        if self.corpus_bias is None or batch.corpora is None:
            return scores
        return scores | {"mos": scores["mos"] + self.corpus_bias.offsets()[batch.corpora]}

    def _preference(self, output: NetworkOutput, batch: Batch) -> Tensor:
        pairs, target_cmos, preference = batch.pairs, batch.cmos, batch.preference
        count = batch.pair_count
        if len(pairs) == 0:
            # The head must be part of every step's graph, so a recording meets itself, unlabelled.
            pairs = torch.zeros((1, 2), dtype=torch.int64, device=batch.pairs.device)
            target_cmos = torch.full_like(pairs[:, 0], torch.nan, dtype=torch.float32)
            preference = torch.zeros_like(pairs[:, 0])
        if self._config.mirrored_pairs:
            pairs = torch.cat([pairs, pairs.flip(1)])
            target_cmos = torch.cat([target_cmos, -target_cmos])
            preference = torch.cat([preference, -preference])
            count = 2 * count
        frames, mask = output.frames, output.mask
        if frames is None:
            raise ValueError("the preference objective needs a network with a preference head")
        a, b = pairs.unbind(1)
        compared = self.network.compare_frames(frames[a], mask[a], frames[b], mask[b])
        return preference_loss(
            compared.cmos.float(),
            compared.logits.float(),
            target_cmos=target_cmos,
            target_preference=preference,
            count=count,
        )

    def _bradley_terry(self, scores: Tensor, batch: Batch) -> Tensor:
        a, b = batch.pairs.unbind(1)
        direction = torch.where(batch.cmos == 0, batch.preference, batch.cmos.sign())
        weights = None
        if self._config.bradley_terry_weighting == "mos_difference":
            weights = mos_difference_weight(batch.cmos.abs(), widest=self._config.widest_gap)
        return bradley_terry_loss(
            scores[a] - scores[b], direction=direction, weights=weights, count=batch.decided_count
        )
