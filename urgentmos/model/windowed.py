"""Score recordings of any length with a network, by the same rules as files."""

from collections.abc import Collection
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from urgentmos.metrics import check_metrics
from urgentmos.model.network import AssessorNetwork
from urgentmos.silence import drop_edge_silence, is_silent
from urgentmos.windows import WINDOW_S, plan_windows


def windowed_scores(
    network: AssessorNetwork,
    waveform: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
    *,
    metrics: Collection[str] | None,
    sample_rate: int,
) -> dict[str, Float[Tensor, " batch"]]:
    """Score recordings: digital silence at the edges left out, the rest in windows if it is long.

    Recordings of up to ``WINDOW_S`` are one batch. Once there is a longer one, each is scored
    alone and window by window, in the memory of one window beyond the waveform's; with gradient
    too, since a window is computed again on the way back. No gradient passes what is silent.

    Args:
        network: The network.
        waveform: At the network's rate; what lies beyond a recording's length is ignored. With
            gradient it must stay as it is until the way back.
        lengths: Samples of each recording.
        metrics: Metrics wanted; all when None.
        sample_rate: The network's rate in Hz.
    """
    if metrics is not None:
        # Once: what can be gone through a single time is asked for per window.
        metrics = check_metrics(metrics, network.metrics)
    waveform, lengths = drop_edge_silence(waveform, lengths)
    if int(lengths.max()) <= round(WINDOW_S * sample_rate):
        return _scores(network, waveform, lengths, metrics)
    each = [
        _long(network, recording[None, :length], metrics, sample_rate)
        for recording, length in zip(waveform, lengths.tolist(), strict=True)
    ]
    return {metric: torch.cat([scores[metric] for scores in each]) for metric in each[0]}


def _long(
    network: AssessorNetwork,
    recording: Float[Tensor, "1 samples"],
    metrics: Collection[str] | None,
    sample_rate: int,
) -> dict[str, Float[Tensor, " 1"]]:
    stretches = plan_windows(recording.shape[1], sample_rate=sample_rate)
    duration_s = sum(stretch.weight_s for stretch in stretches)
    total: dict[str, Tensor] = {}
    for stretch in stretches:
        scores = _window_scores(network, recording[:, stretch.start : stretch.end], metrics)
        for metric, score in scores.items():
            total[metric] = total.get(metric, 0.0) + score * (stretch.weight_s / duration_s)
    return total


def _window_scores(
    network: AssessorNetwork,
    window: Float[Tensor, "1 samples"],
    metrics: Collection[str] | None,
) -> dict[str, Float[Tensor, " 1"]]:
    length = torch.tensor([window.shape[1]], device=window.device)
    window, length = drop_edge_silence(window, length)
    if torch.is_grad_enabled() and window.requires_grad:
        recomputed = checkpoint(_scores, network, window, length, metrics, use_reentrant=False)
        return cast(dict[str, Tensor], recomputed)
    return _scores(network, window, length, metrics)


def _scores(
    network: AssessorNetwork,
    waveform: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
    metrics: Collection[str] | None,
) -> dict[str, Float[Tensor, " batch"]]:
    if waveform.requires_grad:
        # Since level changes no score, the gradient of silence is ten thousand times and more that
        # of speech, and would drown out the batch.
        silent = is_silent(waveform.detach(), lengths)
        waveform = torch.where(silent[:, None], waveform.detach(), waveform)
    scores: dict[str, Tensor] = network(waveform, lengths, metrics=metrics).scores
    return scores
