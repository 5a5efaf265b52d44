"""Give the copy of Distill-MOS's trunk a head that judges frame by frame, and leave all else.

``python recipes/default/fit_frame_head.py MODEL MANIFEST... [--labels TABLE...] --cache FOLDER
--output FOLDER``. What the head says of metrics that compare with a clean reference counts beside
the model's other heads for them, by the shares of ``SHARES``; every other score stays the same to
the bit. It learns from labels, and from how far each 80 ms of a recording are from its reference
(`reference_distances`), which needs none. Recordings without a reference are left out.

What the frozen convolutions give, and those distances, are computed once for each recording, into
the folder of ``--cache`` (0.4 MB each); a killed run goes on. Training itself is not resumed: it
takes minutes.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from own_heads.command import fit, load_copy, options
from own_heads.heard import LONGEST_SAMPLES, Heard, hear, store, stored_files, training_side
from own_heads.training import SMALLEST, Scaling
from reference_distances import reference_distances
from torch import Tensor

from urgentmos.data.dataset import label_matrix
from urgentmos.data.manifest import Recording
from urgentmos.data.references import list_references
from urgentmos.data.waveforms import DecodedWaveforms
from urgentmos.model.assessor import Assessor
from urgentmos.model.encoders.frame_head import FrameHeadConfig
from urgentmos.model.encoders.spectral_transformer import SpectralTransformerEncoder

SHARES = {"pesq": 0.3, "lsd": 0.7, "sdr": 0.6, "estoi": 0.4, "mcd": 0.7}
WEIGHT = 1.5  # of the distances beside the labels
FEWEST = 2  # labels of a metric, for a spread
FURTHEST = 5.0  # in spreads: a few frames of digital silence would count for all others


def listen(
    assessor: Assessor,
    encoder: SpectralTransformerEncoder,
    recordings: Sequence[Recording],
    files: Sequence[Path],
    *,
    after: int,
) -> None:
    """Store the map that the head hears of each recording, and its distances."""
    references, places = list_references(recordings)
    waveforms, clean = DecodedWaveforms(recordings), DecodedWaveforms(references)
    for number, _, frequency_map in hear(assessor, encoder, recordings, files, after=after):
        pair = waveforms.read(number), clean.read(int(places[number]))
        distances = reference_distances(
            *(torch.from_numpy(each)[:LONGEST_SAMPLES] for each in pair)
        )
        store(files[number], frequency_map, distances)


def standardised(distances: Tensor) -> Scaling:
    """Scale distances to mean 0 and spread 1."""
    return Scaling(distances.mean(dim=0), distances.std(dim=0) + SMALLEST, FURTHEST)


def main() -> None:
    """Hear, train and save."""
    parser = options(__doc__, recordings="recordings with references", epochs=4)
    arguments = parser.parse_args()

    assessor, copy = load_copy(parser, arguments)
    chosen = [
        each
        for each in training_side(arguments.manifests, arguments.labels)
        if each.meta.get("reference_path") is not None
    ]
    labels = torch.from_numpy(label_matrix(chosen, list(SHARES)))
    known = ~labels.isnan()
    taught = known.sum(dim=0) >= FEWEST
    shares = {each: SHARES[each] for each, enough in zip(SHARES, taught, strict=True) if enough}
    if not shares:
        parser.error(f"no recording with a reference has a label of {', '.join(SHARES)}")
    config = FrameHeadConfig(list(shares))
    labelled = int(known.any(dim=1).sum())
    print(
        f"{len(chosen)} recordings with a reference, {labelled} with labels: {', '.join(shares)}",
        flush=True,
    )
    files = stored_files(chosen, arguments.cache, of=f"a frame head of model {assessor.model_hash}")
    listen(assessor, copy, chosen, files, after=config.after)
    fit(
        assessor,
        arguments,
        option="frame_head",
        head=config,
        shares=shares,
        heard=Heard(files, labels[:, taught]),
        labelled=labelled,
        scaling=standardised,
        weight=WEIGHT,
    )


if __name__ == "__main__":
    main()
