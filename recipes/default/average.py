"""Average the weights of models of one form, and validate what comes out.

What is best on the mean over all metrics comes early, while the heads with few labels still hold;
what is best on those with many comes last. Their mean keeps most of both, and the mean of where a
run started and where it came to keeps most of what each knows. (Izmailov et al. 2018, "Averaging
weights leads to wider optima and better generalization"; Wortsman et al. 2022, "Model soups".)
``python recipes/default/average.py RUN MODEL MODEL...`` writes ``RUN/averaged``.
"""

import argparse
from collections.abc import Sequence
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


def mean_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Average the states of networks of one form, tensor by tensor."""
    return {
        name: sum((state[name] for state in states[1:]), start=value) / len(states)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }


def main() -> None:
    """Average and validate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of urgentmos train: data and settings")
    parser.add_argument("models", type=Path, nargs="+", help="model folders to average")
    arguments = parser.parse_args()
    run = load_config(RunConfig, arguments.run / "config.yaml")
    corpus = load_corpus(run.data, metrics=run.model.metrics)
    assessors = [load_model(folder) for folder in arguments.models]
    network = assessors[0].network
    network.load_state_dict(mean_weights([each.network.state_dict() for each in assessors]))
    validation = Validation(
        corpus.validation.recordings,
        corpus.validation.waveforms,
        metrics=run.model.metrics,
        batch_samples=_BATCH_SECONDS * SAMPLE_RATE,
        delta=run.data.delta,
    )
    scores = validation.score(network.eval(), device=torch.device("cpu"))
    figures = validation.figures(scores.double().numpy())
    save_model(arguments.run / "averaged", network, assessors[0].config, {"validation": figures})
    print({name: round(figure, 3) for name, figure in figures.items() if name.startswith("lcc")})


if __name__ == "__main__":
    main()
