"""What `fit_peak_head.py` and `fit_frame_head.py` share: heads on frozen convolutions, taught.

A head learns from labels and, in every frame, from numbers that say more: a linear map from its
frames foretells them, and is thrown away. What the convolutions give and those numbers are stored
once for each recording.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm, trange

from urgentmos.audio import SAMPLE_RATE
from urgentmos.data.label_table import merge_labels
from urgentmos.data.manifest import Recording, read_manifest
from urgentmos.data.waveforms import DecodedWaveforms
from urgentmos.masks import lengths_to_mask
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import ModelConfig, NativeScoreConfig
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.own_head import OwnHead, OwnHeadConfig
from urgentmos.model.encoders.spectral_transformer import SpectralTransformerEncoder
from urgentmos.model.heads import MetricHead
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.silence import drop_edge_silence
from urgentmos.whole_file import whole_file

BATCH, CLIP, WEIGHT_DECAY = 32, 1.0, 0.05
FIRST_BATCHES = 30  # that tell what a trained head's frames foretell
SMALLEST = 1e-3  # spread of a number that frames are to foretell
MAP, NUMBERS = "map", "numbers"  # in a stored file
NOTE = "of.txt"
LONGEST_SAMPLES = 6 * SAMPLE_RATE


def options(doc: str | None, *, recordings: str, epochs: int) -> argparse.ArgumentParser:
    """Make the options that both scripts have; ``recordings`` says what manifests hold."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name, folder or Hub id")
    parser.add_argument("manifests", type=Path, nargs="+", help=recordings)
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="tables beside them")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is heard")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--encoder", type=int, default=2, help="number of the copy, from 0")
    parser.add_argument(
        "--further", action="store_true", help="train the head that is there, not a new one"
    )
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def load_copy(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> tuple[Assessor, SpectralTransformerEncoder]:
    """Load the model, and say which of its encoders is the copy; ends where it is none."""
    assessor = load_model(arguments.model)
    copy = assessor.network.encoders[arguments.encoder]
    if not isinstance(copy, SpectralTransformerEncoder):
        parser.error(f"--encoder: encoder {arguments.encoder} is no spectral_transformer")
    return assessor, copy


class Scaling(NamedTuple):
    """How the numbers of a frame are brought to one scale."""

    centre: Tensor
    spread: Tensor
    furthest: float

    def __call__(self, numbers: Tensor) -> Tensor:
        """Scale (..., numbers)."""
        scaled = (numbers - self.centre) / self.spread
        return scaled.clamp(-self.furthest, self.furthest)


class Heard(torch.utils.data.Dataset[tuple[Tensor, Tensor, Tensor]]):
    """What each recording gives: map (frames, bins, channels), numbers of frames, labels."""

    def __init__(self, files: Sequence[Path], labels: Tensor) -> None:
        """Take the files that `store` wrote, and a row of labels for each, NaN where none is."""
        self._files = files
        self.labels = labels

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read one."""
        with np.load(self._files[index]) as stored:
            frequency_map, numbers = (torch.from_numpy(stored[name]) for name in (MAP, NUMBERS))
        return frequency_map, numbers, self.labels[index]


def training_side(manifests: Sequence[Path], tables: Sequence[Path]) -> list[Recording]:
    """Read recordings and tables of labels; of one uid, the first recording."""
    recordings = [each for manifest in manifests for each in read_manifest(manifest)]
    for table in tables:
        merge_labels(recordings, table)
    # Simulations of two seeds share some uids: the first has its label.
    by_uid = {r.uid: r for r in reversed(recordings) if r.meta.get("split") == "train"}
    return list(reversed(by_uid.values()))


def stored_files(recordings: Sequence[Recording], folder: Path, *, of: str) -> list[Path]:
    """Name the file of each recording.

    Raises:
        SystemExit: The folder has what was stored of something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / NOTE
    if note.exists() and (stored := note.read_text("utf-8")) != of:
        raise SystemExit(f"--cache: {folder} has what {stored} heard, not what {of} hears")
    note.write_text(of, "utf-8")
    return [folder / f"{hashlib.sha256(r.uid.encode()).hexdigest()[:20]}.npz" for r in recordings]


def hear(
    assessor: Assessor,
    encoder: SpectralTransformerEncoder,
    recordings: Sequence[Recording],
    files: Sequence[Path],
    *,
    after: int,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Give, of each recording without a file, number, what the model hears, and what a head does.

    The last is what so many convolutions give, (frames, bins, channels).
    """
    waveforms = DecodedWaveforms(recordings)
    for number, path in enumerate(tqdm(files, desc="hearing")):
        if path.exists():
            continue
        waveform = torch.from_numpy(waveforms.read(number))[None, :LONGEST_SAMPLES]
        with assessor.inference():
            heard, lengths = assessor.network.prepare(
                *drop_edge_silence(waveform, torch.tensor([waveform.shape[1]]))
            )
            given = next(islice(encoder.maps(heard, lengths), after - 1, None))
        yield number, heard, given.features[0].permute(1, 2, 0)


def store(path: Path, frequency_map: Tensor, numbers: Tensor) -> None:
    """Store what `Heard` reads, in 16 bits."""
    with whole_file(path, suffix=".unfinished.npz") as unfinished:
        arrays = {MAP: frequency_map, NUMBERS: numbers}
        np.savez(
            unfinished,
            **{name: each.to(torch.float16).numpy() for name, each in arrays.items()},
        )


def collate(
    batch: Sequence[tuple[Tensor, Tensor, Tensor]],
) -> tuple[FrequencyMap, Tensor, Tensor, Tensor]:
    """Pad a batch: maps, numbers, True where there are numbers, labels."""
    maps, numbers, labels = zip(*batch, strict=True)
    lengths = torch.tensor([len(each) for each in maps])
    padded = nn.utils.rnn.pad_sequence(maps, batch_first=True).float().permute(0, 3, 1, 2)
    counts = torch.tensor([len(each) for each in numbers])
    numbers = nn.utils.rnn.pad_sequence(numbers, batch_first=True).float()
    mask = lengths_to_mask(counts, numbers.shape[1])
    return FrequencyMap(padded, lengths, int(lengths.min())), numbers, mask, torch.stack(labels)


def in_columns(scores: Mapping[str, Tensor], metrics: Sequence[str]) -> Tensor:
    """Lay scores out as labels are: a row each, a column per metric."""
    return torch.stack([scores[name] for name in metrics], dim=1)


class Scale(nn.Module):
    """Each channel times a number that is not learned."""

    def __init__(self, scale: Tensor) -> None:
        """Take the numbers, (channels,)."""
        super().__init__()
        self.register_buffer("scale", scale[:, None, None])

    def forward(self, features: Tensor) -> Tensor:
        """Scale (batch, channels, frames, bins)."""
        return features * self.scale


class Shift(nn.Module):
    """A number times one that is not learned, and another added."""

    def __init__(self, spread: float, centre: float) -> None:
        """Take both."""
        super().__init__()
        self.spread, self.centre = spread, centre

    def forward(self, numbers: Tensor) -> Tensor:
        """Scale and shift."""
        return self.spread * numbers + self.centre


def normalise(head: OwnHead, scale: Tensor, labels: Tensor) -> None:
    """Put what training is faster with into a head.

    Scaled inputs and batch norms into the convolutions; the labels' mean and spread behind the
    last layers.
    """
    for convolution in head.convolutions:
        conv = convolution.conv
        conv.reset_parameters()
        convolution.conv = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))
    head.convolutions[0].conv.insert(0, Scale(scale))
    for of_metric, column in zip(head.heads.values(), labels.T, strict=True):
        known = column[~column.isnan()]
        shift = Shift(*_before_constraint(of_metric, known))
        nn.init.zeros_(of_metric.linear.bias)
        of_metric.constraint = nn.Sequential(shift, of_metric.constraint)


def _before_constraint(head: MetricHead, labels: Tensor) -> tuple[float, float]:
    """Give spread and mean of labels before what keeps them in their range."""
    low, high, mean, spread = (
        head.constraint.low, head.constraint.high, labels.mean().item(), labels.std().item(),
    )  # fmt: skip
    if low is not None and high is not None:
        return 1.0, float(torch.logit(torch.tensor((mean - low) / (high - low)), eps=SMALLEST))
    # Far from the one bound there is, which labels are on average, nothing is constrained.
    return spread, mean


def fold(head: OwnHead) -> None:
    """Make of `normalise`, after training, weights and biases."""
    for convolution in head.convolutions:
        *before, conv, norm = convolution.conv
        folded = nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm.eval())
        for scaled in before:
            folded.weight.data.mul_(scaled.scale[None])
        convolution.conv = folded
    for of_metric in head.heads.values():
        shift, of_metric.constraint = of_metric.constraint
        of_metric.linear.weight.data.mul_(shift.spread)
        of_metric.linear.bias.data.mul_(shift.spread).add_(shift.centre)


def with_numbers(frames: Tensor, numbers: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Give the frames of a batch that have numbers, one after the other, and these.

    Args:
        frames: (batch, frames, frame_dim).
        numbers: (batch, other frames, numbers).
        mask: True where there are numbers.
    """
    both = min(frames.shape[1], numbers.shape[1])
    there = mask[:, :both]
    return frames[:, :both][there], numbers[:, :both][there]


def fit_foretelling(
    foretell: nn.Linear,
    head: OwnHead,
    batches: Iterable[tuple[FrequencyMap, Tensor, Tensor, Tensor]],
    scale: Scaling,
) -> None:
    """Fit what foretells the numbers of frames to a trained head, by least squares.

    Begun at random, it would first lead the head astray.
    """
    head.eval()
    found, wanted = [], []
    with torch.no_grad():
        for maps, numbers, mask, _ in batches:
            frames, _ = head.frames(maps)
            there, known = with_numbers(frames, numbers, mask)
            found.append(there)
            wanted.append(scale(known))
        inputs = functional.pad(torch.cat(found), (0, 1), value=1.0)
        solution = torch.linalg.lstsq(inputs, torch.cat(wanted)).solution
        foretell.weight.copy_(solution[:-1].T)
        foretell.bias.copy_(solution[-1])


def train(
    head: OwnHead,
    heard: Heard,
    *,
    further: bool,
    scaling: Callable[[Tensor], Scaling],
    weight: float,
    epochs: int,
    lr: float,
    seed: int,
) -> None:
    """Train a head on labels and on the numbers of frames.

    Args:
        head: What is trained, in place.
        heard: What it learns from; the columns of labels are the head's metrics.
        further: Whether the head is trained already.
        scaling: Makes the scale of numbers from some of them, (frames, numbers).
        weight: How much the numbers count beside the labels.
        epochs: Passes.
        lr: Largest learning rate.
        seed: Of the order, and of the convolutions' first weights.
    """
    torch.manual_seed(seed)
    loader = torch.utils.data.DataLoader(
        heard, BATCH, shuffle=True, drop_last=len(heard) > BATCH, collate_fn=collate
    )
    some, numbers, mask, *_ = next(iter(loader))
    scale = scaling(numbers[mask])
    if not further:
        within = lengths_to_mask(some.lengths, some.features.shape[2])
        loudness = some.features.permute(0, 2, 3, 1)[within].flatten(0, 1).std(dim=0)
        normalise(head, 1 / (loudness + 1e-4), heard.labels)
    foretell = nn.Linear(head.frame_dim, numbers.shape[2])
    if further:
        fit_foretelling(foretell, head, islice(loader, FIRST_BATCHES), scale)
    parts = nn.ModuleList([head, foretell])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * len(loader), pct_start=0.1
    )
    spread = torch.stack([column[~column.isnan()].std() for column in heard.labels.T])
    parts.train()
    for epoch in trange(epochs, desc="training"):
        sums = torch.zeros(2)
        for maps, numbers, mask, labels in loader:
            frames, lengths = head.frames(maps)
            scores = in_columns(head.judge(frames, lengths), list(head.heads)) / spread
            known = ~labels.isnan()
            expected = (labels / spread)[known]
            distances = functional.smooth_l1_loss(
                scores[known], expected, beta=0.5, reduction="sum"
            )
            missed = distances / max(1, len(expected))
            found, wanted = with_numbers(frames, numbers, mask)
            apart = (foretell(found) - scale(wanted)).square().mean()
            (missed + weight * apart).backward()
            nn.utils.clip_grad_norm_(parts.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            sums += torch.stack((missed.detach(), apart.detach()))
        of_scores, of_frames = (sums / len(loader)).tolist()
        tqdm.write(f"epoch {epoch}: scores {of_scores:.4f}, frames {of_frames:.4f}")
    parts.eval()
    if not further:
        fold(head)


def with_own_head(
    assessor: Assessor,
    encoder: int,
    *,
    option: str,
    head: OwnHeadConfig,
    shares: Mapping[str, float],
) -> tuple[AssessorNetwork, ModelConfig]:
    """Build the model with a head of an encoder's own, and take all other weights.

    Args:
        assessor: The model.
        encoder: Number of the encoder.
        option: Its option that has the head.
        head: Options of the head.
        shares: Of the head in the scores, beside those that count already.

    Raises:
        SystemExit: What counts already is one score of the encoder's, for several metrics.
    """
    encoders = list(assessor.config.encoders)
    options = {**encoders[encoder].options, option: asdict(head)}
    encoders[encoder] = replace(encoders[encoder], options=options)
    others: list[NativeScoreConfig] = []
    counted: dict[str, float] = {}
    for before in assessor.config.native_scores:
        if before.encoder != encoder:
            others.append(before)
        elif before.metric is None:
            counted |= before.shares
        else:
            raise SystemExit(f"the {before.metric} of encoder {encoder} counts in several scores")
    own = NativeScoreConfig(encoder=encoder, shares={**counted, **shares})
    config = replace(
        assessor.config, encoders=encoders, native_score=[*others, own] if others else own
    )
    network = build_assessor(config)
    network.load_state_dict(assessor.network.state_dict(), strict=False)
    return network.eval(), config


def fit(
    assessor: Assessor,
    arguments: argparse.Namespace,
    *,
    option: str,
    head: OwnHeadConfig,
    shares: Mapping[str, float],
    heard: Heard,
    labelled: int,
    scaling: Callable[[Tensor], Scaling],
    weight: float,
) -> None:
    """Give a model a head, train it and save the model: see `with_own_head` and `train`.

    With ``--further`` it is the head that the model has, with its own options and shares.

    Args:
        assessor: The model.
        arguments: Those of `options`.
        option: The encoder's option that has the head.
        head: Options of the head.
        shares: Of the head in the scores.
        heard: What it learns from.
        labelled: How many of these recordings have labels, for the card.
        scaling: Makes the scale of the numbers of frames.
        weight: How much these count beside the labels.

    Raises:
        SystemExit: What is to be trained further is not there, or of other metrics.
    """
    if arguments.further:
        network, config = assessor.network, assessor.config
    else:
        network, config = with_own_head(
            assessor, arguments.encoder, option=option, head=head, shares=shares
        )
    own = getattr(network.encoders[arguments.encoder], option)
    if own is None or list(own.heads) != head.metrics:
        raise SystemExit(
            f"--further: encoder {arguments.encoder} has no {option} of {', '.join(head.metrics)}"
        )
    train(
        own,
        heard,
        further=arguments.further,
        scaling=scaling,
        weight=weight,
        epochs=arguments.epochs,
        lr=arguments.lr,
        seed=arguments.seed,
    )
    learned = {"metrics": head.metrics, "recordings": len(heard), "labels": labelled}
    save_model(arguments.output, network, config, {**assessor.card, option: learned}, half=True)
