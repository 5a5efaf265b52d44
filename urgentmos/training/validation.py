"""How well the network follows labels and preferences it was not trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from urgentmos.correlation import lcc, srcc
from urgentmos.data.dataset import label_matrix
from urgentmos.data.features import FeatureStore
from urgentmos.data.groups import Positions
from urgentmos.data.manifest import Recording
from urgentmos.data.pairs import Matching, PairTable
from urgentmos.data.sampler import plan_whole_recordings
from urgentmos.data.waveforms import Waveforms, read_whole
from urgentmos.model.encoders import EncoderOutput
from urgentmos.model.network import AssessorNetwork
from urgentmos.model.windowed import windowed_scores
from urgentmos.ndarray import NDArray
from urgentmos.rates import SAMPLE_RATE
from urgentmos.windows import WINDOW_S

# Compared on each validation; more would cost more than the scores themselves.
_MAX_PAIRS = 150
_PAIRS_AT_ONCE = 32
_MATCHINGS: tuple[Matching, ...] = ("ref", "strength")


@dataclass
class _Pairs:
    a: Positions
    b: Positions
    better_a: NDArray[np.bool_]


class Validation:
    """Validation recordings, and the pairs among them, fixed for a run.

    Pairs are up to 150 of one reference content whose MOS labels differ by more than delta, and up
    to 150 of one distortion family.

    Args:
        recordings: Validation recordings.
        waveforms: Their waveforms.
        metrics: Metrics of the model.
        batch_samples: Bound on padded samples.
        delta: Largest MOS difference that is a tie.
        encoded: Stores of frozen encoders, by the encoder's number.
        rank: This process.
        num_ranks: Processes that share the work.
    """

    def __init__(
        self,
        recordings: list[Recording],
        waveforms: Waveforms,
        *,
        metrics: list[str],
        batch_samples: int,
        delta: float,
        encoded: Mapping[int, FeatureStore] = MappingProxyType({}),
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self._waveforms = waveforms
        self._encoded = encoded
        self._labels = label_matrix(recordings, metrics).astype(np.float64)
        self._metrics = metrics
        batches = plan_whole_recordings(waveforms.lengths, batch_samples=batch_samples)
        self._batches = batches[rank::num_ranks]
        table = PairTable(recordings, delta=delta)
        self._pairs = {name: _choose_pairs(table, name, tie=delta) for name in _MATCHINGS}

    def names(self, network: AssessorNetwork) -> list[str]:
        """Names of the figures that there will be for a network.

        Not of those that are no number whatever it says: where fewer than two recordings have a
        label, or all have the same.
        """
        of_the_best = self.figures(self._labels)
        names = [name for name, value in of_the_best.items() if not np.isnan(value)]
        if network.preference is not None:
            names += [_compare_name(m) for m, pairs in self._pairs.items() if len(pairs.a)]
        return names

    @torch.no_grad()
    def score(self, network: AssessorNetwork, *, device: torch.device) -> Tensor:
        """Score this process's share as files are scored, what is long in windows.

        Rows of the others are 0, so that shares add up. Stored hidden states are heard whole.

        Returns:
            One row per recording, one column per metric.
        """
        scores = torch.zeros(self._labels.shape, device=device, dtype=torch.float32)
        for batch in self._batches:
            given = self._score_batch(network, batch, device)
            stacked = torch.stack([given[name].float() for name in self._metrics], dim=1)
            scores[torch.from_numpy(batch).to(device)] = stacked
        return scores

    @torch.no_grad()
    def compare(self, network: AssessorNetwork, *, device: torch.device) -> dict[str, float]:
        """Compare the chosen pairs with the preference head, both orders averaged.

        Of recordings longer than a window the first is compared, but where hidden states are
        stored.

        Returns:
            Accuracy of the sign of the CMOS per matching.
        """
        accuracies = {}
        for name, pairs in self._pairs.items():
            if not len(pairs.a):
                continue
            starts = range(0, len(pairs.a), _PAIRS_AT_ONCE)
            parts = [slice(start, start + _PAIRS_AT_ONCE) for start in starts]
            cmos = [self._cmos(network, pairs.a[p], pairs.b[p], device=device) for p in parts]
            accuracies[_compare_name(name)] = _accuracy(np.concatenate(cmos), pairs)
        return accuracies

    def figures(self, scores: NDArray[np.float64]) -> dict[str, float]:
        """Compute LCC and SRCC per metric, and pair accuracy of the ``mos`` score."""
        figures: dict[str, float] = {}
        for column, name in enumerate(self._metrics):
            labelled = ~np.isnan(self._labels[:, column])
            x, y = self._labels[labelled, column], scores[labelled, column]
            figures[f"lcc/{name}"] = lcc(x, y)
            figures[f"srcc/{name}"] = srcc(x, y)
        for kind in ("lcc", "srcc"):
            figures[f"{kind}/mean"] = _mean_of(figures, kind)
        if "mos" in self._metrics:
            mos = scores[:, self._metrics.index("mos")]
            for matching, pairs in self._pairs.items():
                if len(pairs.a):
                    figures[f"pair_accuracy/{matching}"] = _accuracy(
                        mos[pairs.a] - mos[pairs.b], pairs
                    )
        return figures

    def _score_batch(
        self, network: AssessorNetwork, batch: Positions, device: torch.device
    ) -> dict[str, Tensor]:
        waveform, lengths = self._load(batch, device)
        if self._encoded:
            # They were made of whole recordings, and training reads parts of them.
            scores: dict[str, Tensor] = network(
                waveform, lengths, encoded=self._states(batch, device)
            ).scores
            return scores
        return windowed_scores(network, waveform, lengths, metrics=None, sample_rate=SAMPLE_RATE)

    def _cmos(
        self, network: AssessorNetwork, a: Positions, b: Positions, *, device: torch.device
    ) -> NDArray[np.float64]:
        both = np.concatenate([a, b])
        waveform, lengths = self._load(both, device)
        if not self._encoded:
            lengths = lengths.clamp_max(round(WINDOW_S * SAMPLE_RATE))
        frames, mask = network.preference_frames(
            waveform[:, : int(lengths.max())], lengths, encoded=self._states(both, device)
        )
        frames_a, frames_b = frames.chunk(2)
        mask_a, mask_b = mask.chunk(2)
        forward = network.compare_frames(frames_a, mask_a, frames_b, mask_b).cmos
        backward = network.compare_frames(frames_b, mask_b, frames_a, mask_a).cmos
        cmos: NDArray[np.float64] = (forward - backward).cpu().double().numpy() / 2
        return cmos

    def _load(self, positions: Positions, device: torch.device) -> tuple[Tensor, Tensor]:
        waveform, lengths = read_whole(self._waveforms, positions)
        return torch.from_numpy(waveform).to(device), torch.from_numpy(lengths).to(device)

    def _states(self, positions: Positions, device: torch.device) -> dict[int, EncoderOutput]:
        return {
            index: EncoderOutput(*store.read(positions).to(device))
            for index, store in self._encoded.items()
        }


def _choose_pairs(table: PairTable, matching: Matching, *, tie: float) -> _Pairs:
    a, b = table.pairs(matching, ordered=False, cap=_MAX_PAIRS, tie=tie, seed=0)
    better = table.mos[a] - table.mos[b]
    if matching == "strength":
        better = table.strength[b] - table.strength[a]
    return _Pairs(a=a, b=b, better_a=better > 0)


def _compare_name(matching: Matching) -> str:
    return f"compare_accuracy/{matching}"


def _accuracy(difference: NDArray[np.float64], pairs: _Pairs) -> float:
    # Strict: a predicted draw is wrong whichever is better.
    return float(np.mean(np.where(pairs.better_a, difference > 0, difference < 0)))


def _mean_of(figures: Mapping[str, float], kind: str) -> float:
    values = [v for key, v in figures.items() if key.startswith(f"{kind}/") and not np.isnan(v)]
    return float(np.mean(values)) if values else float("nan")
