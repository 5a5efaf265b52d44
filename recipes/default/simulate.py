"""Make the recipe's recordings: the package's distortions and the recipe's small networks.

``python recipes/default/simulate.py --help``. With ``--only-labelled`` just those are made that a
table has labels of, as they are among all: recordings that are validated on, say, in minutes. Those
of networks are left out then, where there is no folder of networks: trained again they would be
others. ``--without-networks`` leaves them out of all.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from network_kinds import network_kinds, planned_network_kinds

from urgentmos.config import load_config
from urgentmos.data.label_table import read_labels
from urgentmos.simulate.config import SimulationConfig
from urgentmos.simulate.generator import generate
from urgentmos.simulate.kinds import DISTORTIONS
from urgentmos.simulate.plan import PlannedRecording

CONFIG = Path(__file__).with_name("simulate.yaml")


def main() -> None:
    """Simulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="list written by prepare.py")
    parser.add_argument("--audio", type=Path, required=True, help="folder the list is about")
    made_by = parser.add_mutually_exclusive_group()
    made_by.add_argument("--networks", type=Path, help="folder of networks.py")
    made_by.add_argument("--without-networks", action="store_true", help="leave theirs out")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the mixture")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--num-recordings", type=int)
    parser.add_argument(
        "--only-labelled", type=Path, metavar="TABLE", help="table of labels by uid"
    )
    parser.add_argument("--split", choices=("train", "validation"), help="only this side")
    arguments = parser.parse_args()
    left_out = arguments.without_networks or arguments.only_labelled is not None
    if arguments.networks is None and not left_out:
        parser.error("--networks is needed, or --without-networks")
    config = load_config(SimulationConfig, arguments.config, overrides=[])
    config = replace(
        config,
        manifest=str(arguments.sources),
        manifest_root=str(arguments.audio),
        text=str(CONFIG.with_name("sentences.tsv")),
    )
    if arguments.num_recordings:
        config = replace(config, num_recordings=arguments.num_recordings)
    trained = arguments.networks is not None
    networks = network_kinds(arguments.networks) if trained else planned_network_kinds()
    not_made = frozenset[str]() if trained else frozenset(networks)
    labelled = None if arguments.only_labelled is None else ids_in(arguments.only_labelled)

    def is_wanted(recording: PlannedRecording) -> bool:
        return (
            arguments.split in (None, recording.split)
            and (labelled is None or recording.id in labelled)
            and not_made.isdisjoint(step.kind for step in recording.chain)
        )

    outcome = generate(
        config,
        arguments.output,
        seed=arguments.seed,
        workers=arguments.workers,
        kinds=DISTORTIONS | networks,
        is_wanted=is_wanted,
    )
    print(f"{outcome.num_made} recordings in {outcome.manifest}; {len(outcome.failed)} failed")
    for name, tools in outcome.skipped.items():
        print(f"left out for want of {', '.join(tools)}: {name}")


def ids_in(table: Path) -> frozenset[str]:
    """Read the ids of what a table has labels of: a uid ends in its id.

    Simulations share ids, so that some recordings without a label are made too.
    """
    return frozenset(uid.rpartition(":")[2] for uid in read_labels(table))


if __name__ == "__main__":
    main()
