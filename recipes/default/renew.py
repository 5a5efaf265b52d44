"""Put together what a last training learns from: labels of recordings that no weight has met.

A model knows the recordings it was trained on, and what its heads then learn from them is how
recordings look that are known. So labels that compare with a reference come from ``--new``
recordings alone; of those that were ``--heard`` before, as many as are asked for, only the labels
that need none are kept, and their references are forgotten.
``python recipes/default/renew.py --new LABELLED... --heard LABELLED --output MANIFEST``
"""

import argparse
from pathlib import Path

import numpy as np
from pseudo_mos import read_all

from urgentmos.data.manifest import Recording, read_manifest, write_manifest
from urgentmos.metrics import METRICS

RARE = "dnsmos_ovrl"


def without_reference(recording: Recording) -> None:
    """Forget a recording's reference and the labels that compare with it."""
    recording.meta.pop("reference_path", None)
    recording.metrics = {
        name: label
        for name, label in recording.metrics.items()
        if not METRICS[name].needs_reference
    }


def heard_before(recordings: list[Recording], *, at_most: int, seed: int) -> list[Recording]:
    """Choose among the training side what still teaches something, the rarely labelled first.

    Args:
        recordings: Labelled; those that are chosen lose their references.
        at_most: Recordings to choose.
        seed: Of the choice.
    """
    train = [recording for recording in recordings if recording.meta.get("split") == "train"]
    for recording in train:
        without_reference(recording)
    order = np.random.default_rng(seed).permutation(len(train)).tolist()
    labelled = [train[position] for position in order if train[position].metrics]
    # Python's sort keeps the order of equals.
    return sorted(labelled, key=lambda recording: RARE not in recording.metrics)[:at_most]


def main() -> None:
    """Write the manifest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--new", type=Path, nargs="+", required=True, help="heard by no model yet")
    parser.add_argument("--heard", type=Path, required=True)
    parser.add_argument("--at-most", type=int, default=8000, help="of those heard before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    new = read_all(arguments.new)
    heard = read_manifest(arguments.heard)
    validation = [recording for recording in heard if recording.meta.get("split") != "train"]
    chosen = heard_before(heard, at_most=arguments.at_most, seed=arguments.seed)
    fresh = [recording for recording in new if recording.meta.get("split") == "train"]
    # A simulation with another seed may give a recording as it is the name it had before.
    for number, recording in enumerate(fresh):
        recording.uid = f"new{number}:{recording.uid}"
    write_manifest(arguments.output, [*fresh, *chosen, *validation])
    print(
        f"{len(fresh)} new recordings, {len(chosen)} heard before, {len(validation)} for validation"
    )


if __name__ == "__main__":
    main()
