"""Training of a head on labels and on the numbers of frames."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm, trange

from urgentmos.masks import lengths_to_mask
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.own_head import OwnHead

from .heard import Heard, collate
from .normalisation import fold, normalise

BATCH, CLIP, WEIGHT_DECAY = 32, 1.0, 0.05
FIRST_BATCHES = 30  # that tell what a trained head's frames foretell
SMALLEST = 1e-3  # spread of a number that frames are to foretell


class Scaling(NamedTuple):
    """How the numbers of a frame are brought to one scale."""

    centre: Tensor
    spread: Tensor
    furthest: float

    def __call__(self, numbers: Tensor) -> Tensor:
        """Scale (..., numbers)."""
        scaled = (numbers - self.centre) / self.spread
        return scaled.clamp(-self.furthest, self.furthest)


def in_columns(scores: Mapping[str, Tensor], metrics: Sequence[str]) -> Tensor:
    """Lay scores out as labels are: a row each, a column per metric."""
    return torch.stack([scores[name] for name in metrics], dim=1)


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
