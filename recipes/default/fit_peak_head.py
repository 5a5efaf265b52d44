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

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from batch_labels import BatchDnsmos
from own_heads.command import fit, load_copy, options
from own_heads.heard import NUMBERS, Heard, hear, store, stored_files, training_side
from own_heads.training import SMALLEST, Scaling, in_columns
from torch import Tensor, inf

from urgentmos.data.dataset import label_matrix
from urgentmos.data.manifest import Recording
from urgentmos.model.assessor import Assessor
from urgentmos.model.encoders.peak_head import PeakHeadConfig
from urgentmos.model.encoders.spectral_transformer import SpectralTransformerEncoder

LABELS = ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]
WEIGHT = 0.5  # of the peaks beside the labels
FEWEST = 2  # labels, for a line


def listen(
    assessor: Assessor,
    encoder: SpectralTransformerEncoder,
    dnsmos: BatchDnsmos,
    recordings: Sequence[Recording],
    files: Sequence[Path],
    *,
    after: int,
) -> None:
    """Store the map that the head hears of each recording, and what DNSMOS judges it by."""
    for number, heard, frequency_map in hear(assessor, encoder, recordings, files, after=after):
        # Half the time, for differences that are far below what is learned from.
        with assessor.inference(), torch.autocast(assessor.device.type, torch.bfloat16):
            peaks = dnsmos.peaks(heard)
        store(files[number], frequency_map, peaks[0])


def by_spread(peaks: Tensor) -> Scaling:
    """Scale peaks to one spread, and leave 0 what it is."""
    spread = peaks.std(dim=0) + SMALLEST
    return Scaling(torch.zeros_like(spread), spread, inf)


def judge(dnsmos: BatchDnsmos, files: Sequence[Path]) -> Tensor:
    """Say what DNSMOS makes of each recording at the level that the model hears."""
    largest = []
    for path in files:
        with np.load(path) as stored:
            largest.append(torch.from_numpy(stored[NUMBERS]).amax(dim=0, keepdim=True))
    return in_columns(dnsmos.judge(torch.stack(largest).float()), LABELS)


def complete(labels: Tensor, judged: Tensor) -> Tensor:
    """Fill labels that are missing with judgements, moved to where labels are by a line."""
    known = ~labels.isnan().any(dim=1)
    if known.sum() < FEWEST:
        return judged
    x, y = judged[known], labels[known]
    slope = ((x - x.mean(0)) * (y - y.mean(0))).sum(0) / (x - x.mean(0)).square().sum(0)
    expected = y.mean(0) + slope * (judged - x.mean(0))
    return torch.where(known[:, None], labels, expected)


def main() -> None:
    """Hear, train and save."""
    parser = options(__doc__, recordings="recordings, some with labels", epochs=8)
    parser.add_argument("--share", type=float, default=0.5, help="of the head in the scores")
    arguments = parser.parse_args()

    assessor, copy = load_copy(parser, arguments)
    config = PeakHeadConfig(LABELS)
    chosen = training_side(arguments.manifests, arguments.labels)
    labels = torch.from_numpy(label_matrix(chosen, LABELS))
    labelled = int((~labels.isnan().any(dim=1)).sum())
    print(f"{len(chosen)} recordings, {labelled} with labels", flush=True)
    dnsmos = BatchDnsmos(assessor.device)
    files = stored_files(chosen, arguments.cache, of=f"a peak head of model {assessor.model_hash}")
    listen(assessor, copy, dnsmos, chosen, files, after=config.after)
    fit(
        assessor,
        arguments,
        option="peak_head",
        head=config,
        shares=dict.fromkeys(LABELS, arguments.share),
        heard=Heard(files, complete(labels, judge(dnsmos, files))),
        labelled=labelled,
        scaling=by_spread,
        weight=WEIGHT,
    )


if __name__ == "__main__":
    main()
