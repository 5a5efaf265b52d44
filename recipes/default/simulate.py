"""Make the recipe's recordings: the package's distortions and the recipe's small networks.

``python recipes/default/simulate.py --help``.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from network_kinds import network_kinds

from urgentmos.config import load_config
from urgentmos.simulate.config import SimulationConfig
from urgentmos.simulate.generator import generate
from urgentmos.simulate.kinds import DISTORTIONS

CONFIG = Path(__file__).with_name("simulate.yaml")


def main() -> None:
    """Simulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="list written by prepare.py")
    parser.add_argument("--audio", type=Path, required=True, help="folder the list is about")
    parser.add_argument("--networks", type=Path, required=True, help="folder of networks.py")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the mixture")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--num-recordings", type=int)
    arguments = parser.parse_args()
    config = load_config(SimulationConfig, arguments.config, overrides=[])
    config = replace(
        config,
        manifest=str(arguments.sources),
        manifest_root=str(arguments.audio),
        text=str(CONFIG.with_name("sentences.tsv")),
    )
    if arguments.num_recordings:
        config = replace(config, num_recordings=arguments.num_recordings)
    outcome = generate(
        config,
        arguments.output,
        seed=arguments.seed,
        workers=arguments.workers,
        kinds=DISTORTIONS | network_kinds(arguments.networks),
    )
    print(f"{outcome.num_made} recordings in {outcome.manifest}; {len(outcome.failed)} failed")
    for name, tools in outcome.skipped.items():
        print(f"left out for want of {', '.join(tools)}: {name}")


if __name__ == "__main__":
    main()
