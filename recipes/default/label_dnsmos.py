"""Label recordings with all of DNSMOS: hundreds a second on a GPU, and several on a processor.

``python recipes/default/label_dnsmos.py MANIFEST... --output TABLE.csv.gz``. The table, by uid, is
for ``refit_group.py --more-labels`` or ``data.labels`` in training. Recordings whose manifest or
table has all four outputs already are left out, so that a killed run goes on.

DNSMOS hears what is not 4.51 to 5.49 s long in several windows: it takes up to seven times as long.
``--one-window`` leaves it out.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from batch_labels import BatchDnsmos
from tqdm import tqdm

from urgentmos.data.label_table import read_labels, write_labels
from urgentmos.data.manifest import Recording, read_manifest
from urgentmos.data.waveforms import DecodedWaveforms
from urgentmos.labels.dnsmos import Dnsmos, cut_windows
from urgentmos.precision import Precision
from urgentmos.whole_file import whole_file

_SAVE_EVERY = 500  # recordings


def without_labels(recordings: Sequence[Recording], split: str) -> list[Recording]:
    """Choose the recordings of a side that lack one of the outputs."""
    return [
        recording
        for recording in recordings
        if recording.meta.get("split") == split
        and not set(Dnsmos.metrics) <= set(recording.metrics)
    ]


def is_one_window(samples: int) -> bool:
    """Tell whether DNSMOS hears so many samples in windows that are all the same."""
    return len({start for start, _ in cut_windows(np.zeros(samples, dtype=np.float32))}) == 1


def batches_of_one_length(
    recordings: Sequence[Recording], *, size: int
) -> Iterator[tuple[list[Recording], torch.Tensor]]:
    """Decode recordings of one length at a time: (batch, samples), at most ``size`` of them."""
    waveforms = DecodedWaveforms(recordings)
    places = defaultdict(list)
    for place, samples in enumerate(waveforms.lengths.tolist()):
        places[samples].append(place)
    for alike in places.values():
        for start in range(0, len(alike), size):
            batch = alike[start : start + size]
            heard = np.stack([waveforms.read(place) for place in batch])
            yield [recordings[place] for place in batch], torch.from_numpy(heard)


def main() -> None:
    """Label, and write the table every few hundred recordings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True, help="table (.csv or .csv.gz)")
    parser.add_argument("--split", default="train", help="the side (default: train)")
    parser.add_argument("--one-window", action="store_true")
    parser.add_argument("--recordings", type=int, help="at most so many, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1, help="recordings at a time")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dnsmos", type=Path, help="folder of its networks (default: speechmos')")
    arguments = parser.parse_args()

    found = [each for manifest in arguments.manifests for each in read_manifest(manifest)]
    chosen = without_labels(found, arguments.split)
    if arguments.one_window:
        lengths = DecodedWaveforms(chosen).lengths.tolist()
        fitting = {samples for samples in set(lengths) if is_one_window(samples)}
        chosen = [each for each, n in zip(chosen, lengths, strict=True) if n in fitting]
    if arguments.recordings is not None:
        order = np.random.default_rng(arguments.seed).permutation(len(chosen))
        chosen = [chosen[place] for place in sorted(order[: arguments.recordings])]
    done = read_labels(arguments.output) if arguments.output.exists() else {}
    if not done.keys() <= {recording.uid for recording in chosen}:
        parser.error(f"{arguments.output} has labels of other recordings: name another table")

    def save() -> None:
        for recording in chosen:
            recording.metrics = done.get(recording.uid, {})
        # The suffix says whether the table is compressed.
        suffix = f".unfinished{arguments.output.suffix}"
        with whole_file(arguments.output, suffix=suffix) as unfinished:
            write_labels(unfinished, [each for each in chosen if each.uid in done])

    device = torch.device(arguments.device)
    label = BatchDnsmos(device, folder=arguments.dnsmos, tf32=arguments.precision != "float32")
    rest = [recording for recording in chosen if recording.uid not in done]
    saved = len(done)
    with (
        torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bfloat16"),
        tqdm(total=len(rest), desc="DNSMOS") as bar,
    ):
        for batch, heard in batches_of_one_length(rest, size=arguments.batch):
            outputs = {name: each.tolist() for name, each in label(heard.to(device)).items()}
            for place, recording in enumerate(batch):
                done[recording.uid] = {name: each[place] for name, each in outputs.items()}
            bar.update(len(batch))
            if len(done) >= saved + _SAVE_EVERY:
                save()
                saved = len(done)
    save()


if __name__ == "__main__":
    main()
