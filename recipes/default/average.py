"""Average the weights of a run's best and final model, and validate what comes out.

What is best on the mean over all metrics comes early, while the heads with few labels still hold;
what is best on those with many comes last. Their mean keeps most of both. (Averaging along a run:
Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".)
``python recipes/default/average.py RUN`` writes ``RUN/averaged``.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from urgentmos.audio import SAMPLE_RATE
from urgentmos.config import load_config
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.training.config import RunConfig
from urgentmos.training.corpus import load_corpus
from urgentmos.training.validation import Validation

_BATCH_SECONDS = 60


def mean_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, Tensor]:
    """Average two states of one network, tensor by tensor."""
    return {
        name: (value + b[name]) / 2 if value.is_floating_point() else value
        for name, value in a.items()
    }


def main() -> None:
    """Average and validate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of urgentmos train")
    arguments = parser.parse_args()
    run = load_config(RunConfig, arguments.run / "config.yaml")
    corpus = load_corpus(run.data, metrics=run.model.metrics)
    assessor, final = (load_model(arguments.run / name) for name in ("best", "final"))
    network = assessor.network
    network.load_state_dict(mean_weights(network.state_dict(), final.network.state_dict()))
    validation = Validation(
        corpus.validation.recordings,
        corpus.validation.waveforms,
        metrics=run.model.metrics,
        batch_samples=_BATCH_SECONDS * SAMPLE_RATE,
        delta=run.data.delta,
    )
    scores = validation.score(network.eval(), device=torch.device("cpu"))
    figures = validation.figures(scores.double().numpy())
    save_model(arguments.run / "averaged", network, assessor.config, {"validation": figures})
    print({name: round(figure, 3) for name, figure in figures.items() if name.startswith("lcc")})


if __name__ == "__main__":
    main()
