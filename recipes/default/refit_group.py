"""Train one group of metrics and its heads again, and leave all else of a model as it is.

``python recipes/default/refit_group.py MODEL MANIFEST GROUP --labels TABLE --output FOLDER``: for
when a label is defined anew, or more of it are there. Every other score stays the same to the
bit. Joint features are computed once, as scoring computes them; of each recording random stretches
of them are learned from.

``--feedforward`` makes the group smaller first: of the inner features of its layers those stay that
have the largest weights. With ``--as-before`` it learns its former scores, without a table.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm, trange

from urgentmos.audio import SAMPLE_RATE
from urgentmos.correlation import lcc
from urgentmos.data.dataset import label_matrix
from urgentmos.data.label_table import merge_labels
from urgentmos.data.manifest import Recording, read_manifest
from urgentmos.data.sampler import plan_whole_recordings
from urgentmos.data.waveforms import DecodedWaveforms, read_whole
from urgentmos.masks import lengths_to_mask, masked_mean
from urgentmos.metrics import METRICS, get_metric
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.ndarray import NDArray
from urgentmos.silence import drop_edge_silence
from urgentmos.training.losses import absolute_loss

BATCH, SMALLEST_SHARE, CLIP = 64, 0.6, 1.0


class Side(NamedTuple):
    """Features of some recordings, (frames, dim) each, and their labels."""

    features: list[Tensor]
    labels: Tensor


def encode(
    assessor: Assessor, recordings: list[Recording], *, batch_seconds: float
) -> list[Tensor]:
    """Compute the joint features of recordings."""
    waveforms = DecodedWaveforms(recordings)
    batches = plan_whole_recordings(
        waveforms.lengths, batch_samples=round(batch_seconds * SAMPLE_RATE)
    )
    found: dict[int, Tensor] = {}
    for batch in tqdm(batches, desc="features"):
        padded, lengths = map(torch.from_numpy, read_whole(waveforms, batch))
        with assessor.inference():
            heard = drop_edge_silence(padded, lengths)
            features, mask = assessor.network.features(*heard)
        for position, each, valid in zip(batch.tolist(), features, mask, strict=True):
            found[position] = each[valid].to(torch.float16).clone()
    return [found[position] for position in range(len(recordings))]


def score(
    network: AssessorNetwork, group: str, metrics: Sequence[str], features: Sequence[Tensor]
) -> Tensor:
    """Score recordings from their features: a row each, a column per metric."""
    lengths = torch.tensor([len(each) for each in features])
    padded = pad_sequence([each.float() for each in features], batch_first=True)
    mask = lengths_to_mask(lengths, padded.shape[1])
    pooled = masked_mean(network.groups[group](padded, mask), mask)
    return torch.stack([network.heads[metric](pooled) for metric in metrics], dim=1)


@torch.no_grad()
def scores(
    network: AssessorNetwork, group: str, metrics: Sequence[str], features: Sequence[Tensor]
) -> Tensor:
    """Score many recordings, batch by batch."""
    starts = range(0, len(features), BATCH)
    parts = [score(network, group, metrics, features[start : start + BATCH]) for start in starts]
    return torch.cat(parts)


@torch.no_grad()
def validate(
    network: AssessorNetwork, group: str, metrics: Sequence[str], side: Side
) -> dict[str, float]:
    """Give the LCC of each metric."""
    network.eval()
    given = scores(network, group, metrics, side.features).double().numpy()
    labels = side.labels.double().numpy()
    known = ~np.isnan(labels)
    return {
        metric: lcc(labels[known[:, column], column], given[known[:, column], column])
        for column, metric in enumerate(metrics)
    }


def narrow(assessor: Assessor, group: str, feedforward: int) -> Assessor:
    """Keep so many of the inner features of a group's feed-forward layers."""
    weights = dict(assessor.network.state_dict())
    for number in range(assessor.config.groups[group].layers):
        layer = f"groups.{group}.encoder.layers.{number}"
        into, out = (f"{layer}.linear{n}.weight" for n in (1, 2))
        importance = weights[into].norm(dim=1) * weights[out].norm(dim=0)
        kept = importance.topk(feedforward).indices.sort().values
        weights |= {name: weights[name][kept] for name in (into, f"{layer}.linear1.bias")}
        weights[out] = weights[out][:, kept]
    groups = dict(assessor.config.groups)
    groups[group] = replace(groups[group], feedforward=feedforward)
    config = replace(assessor.config, groups=groups)
    network = build_assessor(config)
    network.load_state_dict(weights)
    return Assessor(network, config, card=assessor.card, precision=assessor.precision)


def stretch(features: Tensor, generator: np.random.Generator) -> Tensor:
    """Cut a random stretch out of a recording's features."""
    frames = max(1, round(len(features) * generator.uniform(SMALLEST_SHARE, 1)))
    start = generator.integers(len(features) - frames + 1)
    return features[start : start + frames]


def train(
    network: AssessorNetwork,
    group: str,
    metrics: Sequence[str],
    side: Side,
    *,
    steps: int,
    lr: float,
    seed: int,
    heads_only: bool,
    weights: Mapping[str, float] = MappingProxyType({}),
    often: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Train the group and its heads, or its heads alone.

    Args:
        network: Model to train.
        group: Its name.
        metrics: Its metrics, in the order of the columns.
        side: Features and labels to train on.
        steps: Optimizer steps.
        lr: Highest learning rate.
        seed: Of what is drawn.
        heads_only: Leave the group's own weights as they are.
        weights: Weight of a metric in the loss, 1 where not named.
        often: How many times as often a recording with a label of this metric is drawn.
    """
    parts = nn.ModuleList(network.heads[metric] for metric in metrics)
    if not heads_only:
        parts.append(network.groups[group])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, cycle_momentum=False, pct_start=0.05
    )
    scales = torch.tensor([METRICS[metric].scale for metric in metrics])
    metric_weights = torch.tensor([weights.get(metric, 1.0) for metric in metrics])
    shares = draw_shares(side.labels, metrics, often)
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network.requires_grad_(False)
    parts.requires_grad_(True)
    network.eval()
    parts.train()
    bar = trange(steps, desc="training")
    for _ in bar:
        chosen = generator.choice(len(side.features), size=BATCH, p=shares).tolist()
        scores = score(
            network, group, metrics, [stretch(side.features[i], generator) for i in chosen]
        )
        loss = absolute_loss(scores, side.labels[chosen], scales=scales, weights=metric_weights)
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    network.eval()


def draw_shares(
    labels: Tensor, metrics: Sequence[str], often: Mapping[str, float]
) -> NDArray[np.float64]:
    """Give how likely each recording is drawn: the most that one of its labels asks for."""
    times = np.ones(len(labels))
    for metric, factor in often.items():
        known = ~labels[:, list(metrics).index(metric)].isnan().numpy()
        times[known] = np.maximum(times[known], factor)
    return times / times.sum()


def mix(network: nn.Module, before: Mapping[str, Tensor], *, share: float) -> None:
    """Leave a share of what training changed, and of the weights before the rest."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(before[name], 1 - share)


def metric_values(text: str) -> tuple[str, float]:
    """Read METRIC=VALUE."""
    name, _, value = text.partition("=")
    return get_metric(name).name, float(value)


def choose(
    recordings: Sequence[Recording],
    split: str,
    metrics: Sequence[str],
    *,
    at_most: int | None,
    seed: int,
    labelled_only: bool = True,
) -> list[Recording]:
    """Choose the recordings of a side that have one of the labels, or some of them at random."""
    labelled = [
        recording
        for recording in recordings
        if recording.meta.get("split") == split
        and (not labelled_only or any(metric in recording.metrics for metric in metrics))
    ]
    if not at_most:
        return labelled
    chosen = np.random.default_rng(seed).permutation(len(labelled))
    return [labelled[i] for i in chosen[:at_most]]


def main() -> None:
    """Train, validate and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name, folder or Hub id")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("group", help="as model.groups names it")
    parser.add_argument("--labels", type=Path, help="table of labels in place of the manifest's")
    parser.add_argument(
        "--more-labels", type=Path, nargs="*", default=[], help="tables beside them"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recordings", type=int, help="at most so many of each side")
    parser.add_argument("--heads-only", action="store_true", help="for few recordings")
    parser.add_argument(
        "--weight", type=metric_values, nargs="*", default=[], help="METRIC=WEIGHT in the loss"
    )
    parser.add_argument(
        "--often", type=metric_values, nargs="*", default=[], help="METRIC=TIMES it is drawn"
    )
    parser.add_argument("--feedforward", type=int, help="inner features that the group keeps")
    parser.add_argument("--as-before", action="store_true", help="train on the former scores")
    parser.add_argument("--share", type=float, default=1.0, help="of the change that is kept")
    parser.add_argument("--precision", default="float32", help="of the features")
    parser.add_argument("--batch-seconds", type=float, default=60.0)
    arguments = parser.parse_args()

    assessor = load_model(arguments.model, precision=arguments.precision)
    metrics = assessor.network.group_metrics[arguments.group]
    recordings = read_manifest(arguments.manifest)
    if arguments.labels:
        for recording in recordings:
            recording.metrics = {}
    for table in [arguments.labels, *arguments.more_labels]:
        if table is not None:
            merge_labels(recordings, table)
    chosen_by_side = {
        split: choose(
            recordings,
            split,
            metrics,
            at_most=arguments.recordings,
            seed=arguments.seed,
            labelled_only=not (arguments.as_before and split == "train"),
        )
        for split in ("train", "validation")
    }
    for split, chosen in chosen_by_side.items():
        if not chosen:
            parser.error(
                f"no recording of the {split} side has a label of {' or '.join(metrics)}: "
                "give a table with --labels"
            )
    sides = {}
    for split, chosen in chosen_by_side.items():
        as_before = arguments.as_before and split == "train"
        features = encode(assessor, chosen, batch_seconds=arguments.batch_seconds)
        if as_before:
            labels = scores(assessor.network, arguments.group, metrics, features)
        else:
            labels = torch.from_numpy(label_matrix(chosen, metrics))
        sides[split] = Side(features, labels)
    if arguments.feedforward:
        assessor = narrow(assessor, arguments.group, arguments.feedforward)
    network = assessor.network
    print({s: len(side.features) for s, side in sides.items()}, flush=True)
    print("before", validate(network, arguments.group, metrics, sides["validation"]), flush=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train(
        network,
        arguments.group,
        metrics,
        sides["train"],
        steps=arguments.steps,
        lr=arguments.lr,
        seed=arguments.seed,
        heads_only=arguments.heads_only,
        weights=dict(arguments.weight),
        often=dict(arguments.often),
    )
    mix(network, before, share=arguments.share)
    print("after", validate(network, arguments.group, metrics, sides["validation"]))
    save_model(arguments.output, network, assessor.config, assessor.card, half=True)


if __name__ == "__main__":
    main()
