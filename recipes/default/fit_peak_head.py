"""Give the copy of Distill-MOS's trunk a head that judges as DNSMOS does, and leave all else.

``python recipes/default/fit_peak_head.py MODEL MANIFEST... [--labels TABLE...] --cache FOLDER
--output FOLDER``. What the head says of speech, background and the whole counts beside the model's
other heads for them; every other score stays the same to the bit. It learns from what DNSMOS's own
network judges by (``BatchDnsmos.peaks``) in recordings at the level that the model hears, 64
numbers for each 80 ms, and from labels, which are DNSMOS at the recordings' own level; where the
tables have none, from what DNSMOS makes of those numbers.

What the frozen convolutions give, and those numbers, are computed once for each recording, into the
folder of ``--cache`` (0.4 MB each); a killed run goes on. Training itself is not resumed: it takes
minutes.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from batch_labels import BatchDnsmos
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm, trange

from urgentmos.audio import SAMPLE_RATE
from urgentmos.data.dataset import label_matrix
from urgentmos.data.label_table import merge_labels
from urgentmos.data.manifest import Recording, read_manifest
from urgentmos.data.waveforms import DecodedWaveforms
from urgentmos.masks import lengths_to_mask
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import ModelConfig, NativeScoreConfig
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.peak_head import PeakHead, PeakHeadConfig
from urgentmos.model.encoders.spectral_transformer import SpectralTransformerEncoder
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.silence import drop_edge_silence
from urgentmos.whole_file import whole_file

LABELS = ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]
LONGEST_S = 6.0
BATCH, CLIP, WEIGHT_DECAY, PEAKS = 32, 1.0, 0.05, 64
FEWEST = 2  # labels, for a line


class Heard(torch.utils.data.Dataset[tuple[Tensor, Tensor, Tensor]]):
    """What each recording gives: map (frames, bins, channels), peaks (frames, 64), labels."""

    def __init__(self, files: Sequence[Path], labels: Tensor) -> None:
        """Take the files of `hear`, and a row of labels for each."""
        self._files = files
        self.labels = labels

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read one."""
        with np.load(self._files[index]) as stored:
            frequency_map, peaks = (torch.from_numpy(stored[name]) for name in ("map", "peaks"))
        return frequency_map, peaks, self.labels[index]


def hear(
    assessor: Assessor,
    encoder: SpectralTransformerEncoder,
    dnsmos: BatchDnsmos,
    recordings: Sequence[Recording],
    folder: Path,
    *,
    after: int,
) -> list[Path]:
    """Store the map that the head hears of each recording, and what DNSMOS judges it by."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{hashlib.sha256(r.uid.encode()).hexdigest()[:20]}.npz" for r in recordings]
    waveforms = DecodedWaveforms(recordings)
    for place, path in enumerate(tqdm(files, desc="hearing")):
        if path.exists():
            continue
        waveform = torch.from_numpy(waveforms.read(place))[None, : round(LONGEST_S * SAMPLE_RATE)]
        with assessor.inference():
            heard, lengths = assessor.network.prepare(
                *drop_edge_silence(waveform, torch.tensor([waveform.shape[1]]))
            )
            frequency_map = next(islice(encoder.maps(heard, lengths), after - 1, None))
            # Half the time, for differences that are far below what is learned from.
            with torch.autocast(assessor.device.type, torch.bfloat16):
                peaks = dnsmos.peaks(heard)
        with whole_file(path, suffix=".unfinished.npz") as unfinished:
            np.savez(
                unfinished,
                map=frequency_map.features[0].permute(1, 2, 0).to(torch.float16).numpy(),
                peaks=peaks[0].to(torch.float16).numpy(),
            )
    return files


def collate(
    batch: Sequence[tuple[Tensor, Tensor, Tensor]],
) -> tuple[FrequencyMap, Tensor, Tensor, Tensor]:
    """Pad a batch: maps, peaks, True where there are peaks, labels."""
    maps, peaks, labels = zip(*batch, strict=True)
    lengths = torch.tensor([len(each) for each in maps])
    padded = nn.utils.rnn.pad_sequence(maps, batch_first=True).float().permute(0, 3, 1, 2)
    counts = torch.tensor([len(each) for each in peaks])
    peaks = nn.utils.rnn.pad_sequence(peaks, batch_first=True).float()
    mask = lengths_to_mask(counts, peaks.shape[1])
    return FrequencyMap(padded, lengths, int(lengths.min())), peaks, mask, torch.stack(labels)


def judge(dnsmos: BatchDnsmos, files: Sequence[Path]) -> Tensor:
    """Say what DNSMOS makes of each recording at the level that the model hears."""
    largest = []
    for path in files:
        with np.load(path) as stored:
            largest.append(torch.from_numpy(stored["peaks"]).amax(dim=0, keepdim=True))
    return in_columns(dnsmos.judge(torch.stack(largest).float()))


def in_columns(scores: Mapping[str, Tensor]) -> Tensor:
    """Lay scores out as labels are: a row each, a column per metric."""
    return torch.stack([scores[name] for name in LABELS], dim=1)


def complete(labels: Tensor, judged: Tensor) -> Tensor:
    """Fill labels that are missing with judgements, moved to where labels are by a line."""
    known = ~labels.isnan().any(dim=1)
    if known.sum() < FEWEST:
        return judged
    x, y = judged[known], labels[known]
    slope = ((x - x.mean(0)) * (y - y.mean(0))).sum(0) / (x - x.mean(0)).square().sum(0)
    expected = y.mean(0) + slope * (judged - x.mean(0))
    return torch.where(known[:, None], labels, expected)


def normalise(head: PeakHead, scale: Tensor) -> None:
    """Put what training is faster with into the convolutions: scaled inputs, and batch norms."""
    for convolution in head.convolutions:
        conv = convolution.conv
        conv.reset_parameters()
        convolution.conv = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))
    head.convolutions[0].conv.insert(0, Scale(scale))


def fold(head: PeakHead) -> None:
    """Make of `normalise`, after training, weights and biases of the convolutions."""
    for convolution in head.convolutions:
        *before, conv, norm = convolution.conv
        folded = nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm.eval())
        for scaled in before:
            folded.weight.data.mul_(scaled.scale[None])
        convolution.conv = folded


class Scale(nn.Module):
    """Each channel times a number that is not learned."""

    def __init__(self, scale: Tensor) -> None:
        """Take the numbers, (channels,)."""
        super().__init__()
        self.register_buffer("scale", scale[:, None, None])

    def forward(self, features: Tensor) -> Tensor:
        """Scale (batch, channels, frames, bins)."""
        return features * self.scale


def train(head: PeakHead, heard: Heard, *, epochs: int, lr: float, seed: int) -> None:
    """Train the head on labels and peaks."""
    torch.manual_seed(seed)
    loader = torch.utils.data.DataLoader(
        heard, BATCH, shuffle=True, drop_last=True, collate_fn=collate
    )
    some, peaks, mask, *_ = next(iter(loader))
    level = peaks[mask].std(dim=0) + 1e-3
    within = lengths_to_mask(some.lengths, some.features.shape[2])
    loudness = some.features.permute(0, 2, 3, 1)[within].flatten(0, 1).std(dim=0)
    normalise(head, 1 / (loudness + 1e-4))
    to_peaks = nn.Linear(head.hidden.in_features // 2, PEAKS)
    parts = nn.ModuleList([head, to_peaks])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * len(loader), pct_start=0.1
    )
    spread = heard.labels.std(dim=0)
    for name, mean in zip(LABELS, heard.labels.mean(dim=0), strict=True):
        nn.init.constant_(head.heads[name].linear.bias, torch.logit((mean - 1) / 4).item())
    parts.train()
    for epoch in trange(epochs, desc="training"):
        sums = torch.zeros(2)
        for maps, peaks, mask, labels in loader:
            own, lengths = head.peaks(maps)
            scores = in_columns(head.judge(own, lengths))
            missed = functional.smooth_l1_loss(scores / spread, labels / spread, beta=0.5)
            frames = min(own.shape[1], peaks.shape[1])
            distance = (to_peaks(own)[:, :frames] - (peaks / level)[:, :frames]).square()
            apart = distance[mask[:, :frames]].mean()
            (missed + 0.5 * apart).backward()
            nn.utils.clip_grad_norm_(parts.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            sums += torch.stack((missed.detach(), apart.detach()))
        of_scores, of_peaks = (sums / len(loader)).tolist()
        tqdm.write(f"epoch {epoch}: scores {of_scores:.4f}, peaks {of_peaks:.4f}")
    parts.eval()
    fold(head)


def with_peak_head(
    assessor: Assessor, encoder: int, *, head: PeakHeadConfig, share: float
) -> tuple[AssessorNetwork, ModelConfig]:
    """Build the model with the head, and take all other weights."""
    encoders = list(assessor.config.encoders)
    options = {**encoders[encoder].options, "peak_head": asdict(head)}
    encoders[encoder] = replace(encoders[encoder], options=options)
    shares = dict.fromkeys(head.metrics, share)
    config = replace(
        assessor.config,
        encoders=encoders,
        native_score=NativeScoreConfig(encoder=encoder, shares=shares),
    )
    network = build_assessor(config)
    network.load_state_dict(assessor.network.state_dict(), strict=False)
    return network.eval(), config


def main() -> None:
    """Hear, train and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name, folder or Hub id")
    parser.add_argument("manifests", type=Path, nargs="+", help="recordings, some with labels")
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="tables beside them")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is heard")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--encoder", type=int, default=2, help="number of the copy, from 0")
    parser.add_argument("--share", type=float, default=0.5, help="of the head in the scores")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    assessor = load_model(arguments.model)
    copy = assessor.network.encoders[arguments.encoder]
    if not isinstance(copy, SpectralTransformerEncoder):
        parser.error(f"--encoder: encoder {arguments.encoder} is no spectral_transformer")
    config = PeakHeadConfig(LABELS)
    recordings = [each for manifest in arguments.manifests for each in read_manifest(manifest)]
    for table in arguments.labels:
        merge_labels(recordings, table)
    # Simulations of two seeds share some uids: the first has its label.
    by_uid = {r.uid: r for r in reversed(recordings) if r.meta.get("split") == "train"}
    chosen = list(reversed(by_uid.values()))
    labels = torch.from_numpy(label_matrix(chosen, LABELS))
    labelled = int((~labels.isnan().any(dim=1)).sum())
    print(f"{len(chosen)} recordings, {labelled} with labels", flush=True)
    dnsmos = BatchDnsmos(assessor.device)
    files = hear(assessor, copy, dnsmos, chosen, arguments.cache, after=config.after)
    network, model_config = with_peak_head(
        assessor, arguments.encoder, head=config, share=arguments.share
    )
    head = network.encoders[arguments.encoder].peak_head
    heard = Heard(files, complete(labels, judge(dnsmos, files)))
    train(head, heard, epochs=arguments.epochs, lr=arguments.lr, seed=arguments.seed)
    learned = {"metrics": LABELS, "recordings": len(chosen), "labels": labelled}
    card = {**assessor.card, "peak_head": learned}
    save_model(arguments.output, network, model_config, card, half=True)


if __name__ == "__main__":
    main()
