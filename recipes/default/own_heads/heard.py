"""What a model's frozen convolutions hear of each recording, stored once."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from urgentmos.audio import SAMPLE_RATE
from urgentmos.data.label_table import merge_labels
from urgentmos.data.manifest import Recording, read_manifest
from urgentmos.data.waveforms import DecodedWaveforms
from urgentmos.masks import lengths_to_mask
from urgentmos.model.assessor import Assessor
from urgentmos.model.encoders.masked_convolution import FrequencyMap
from urgentmos.model.encoders.spectral_transformer import SpectralTransformerEncoder
from urgentmos.silence import drop_edge_silence
from urgentmos.whole_file import whole_file

MAP, NUMBERS = "map", "numbers"  # in a stored file
NOTE = "of.txt"
LONGEST_SAMPLES = 6 * SAMPLE_RATE


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
