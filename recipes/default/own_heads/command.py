"""From a model and the options of a command to the model with such a head."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import ModelConfig, NativeScoreConfig
from urgentmos.model.encoders.own_head import OwnHeadConfig
from urgentmos.model.encoders.spectral_transformer import SpectralTransformerEncoder
from urgentmos.model.network import AssessorNetwork, build_assessor

from .heard import Heard
from .training import Scaling, train


def options(doc: str | None, *, recordings: str, epochs: int) -> argparse.ArgumentParser:
    """Make the options that both scripts have; ``recordings`` says what manifests hold."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name, folder or Hub id")
    parser.add_argument("manifests", type=Path, nargs="+", help=recordings)
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="tables beside them")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is heard")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--encoder", type=int, default=2, help="number of the copy, from 0")
    parser.add_argument(
        "--further", action="store_true", help="train the head that is there, not a new one"
    )
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def load_copy(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> tuple[Assessor, SpectralTransformerEncoder]:
    """Load the model, and say which of its encoders is the copy; ends where it is none."""
    assessor = load_model(arguments.model)
    copy = assessor.network.encoders[arguments.encoder]
    if not isinstance(copy, SpectralTransformerEncoder):
        parser.error(f"--encoder: encoder {arguments.encoder} is no spectral_transformer")
    return assessor, copy


def with_own_head(
    assessor: Assessor,
    encoder: int,
    *,
    option: str,
    head: OwnHeadConfig,
    shares: Mapping[str, float],
) -> tuple[AssessorNetwork, ModelConfig]:
    """Build the model with a head of an encoder's own, and take all other weights.

    Args:
        assessor: The model.
        encoder: Number of the encoder.
        option: Its option that has the head.
        head: Options of the head.
        shares: Of the head in the scores, beside those that count already.

    Raises:
        SystemExit: What counts already is one score of the encoder's, for several metrics.
    """
    encoders = list(assessor.config.encoders)
    options = {**encoders[encoder].options, option: asdict(head)}
    encoders[encoder] = replace(encoders[encoder], options=options)
    others: list[NativeScoreConfig] = []
    counted: dict[str, float] = {}
    for before in assessor.config.native_scores:
        if before.encoder != encoder:
            others.append(before)
        elif before.metric is None:
            counted |= before.shares
        else:
            raise SystemExit(f"the {before.metric} of encoder {encoder} counts in several scores")
    own = NativeScoreConfig(encoder=encoder, shares={**counted, **shares})
    config = replace(
        assessor.config, encoders=encoders, native_score=[*others, own] if others else own
    )
    network = build_assessor(config)
    network.load_state_dict(assessor.network.state_dict(), strict=False)
    return network.eval(), config


def fit(
    assessor: Assessor,
    arguments: argparse.Namespace,
    *,
    option: str,
    head: OwnHeadConfig,
    shares: Mapping[str, float],
    heard: Heard,
    labelled: int,
    scaling: Callable[[Tensor], Scaling],
    weight: float,
) -> None:
    """Give a model a head, train it and save the model: see `with_own_head` and `train`.

    With ``--further`` it is the head that the model has, with its own options and shares.

    Args:
        assessor: The model.
        arguments: Those of `options`.
        option: The encoder's option that has the head.
        head: Options of the head.
        shares: Of the head in the scores.
        heard: What it learns from.
        labelled: How many of these recordings have labels, for the card.
        scaling: Makes the scale of the numbers of frames.
        weight: How much these count beside the labels.

    Raises:
        SystemExit: What is to be trained further is not there, or of other metrics.
    """
    if arguments.further:
        network, config = assessor.network, assessor.config
    else:
        network, config = with_own_head(
            assessor, arguments.encoder, option=option, head=head, shares=shares
        )
    own = getattr(network.encoders[arguments.encoder], option)
    if own is None or list(own.heads) != head.metrics:
        raise SystemExit(
            f"--further: encoder {arguments.encoder} has no {option} of {', '.join(head.metrics)}"
        )
    train(
        own,
        heard,
        further=arguments.further,
        scaling=scaling,
        weight=weight,
        epochs=arguments.epochs,
        lr=arguments.lr,
        seed=arguments.seed,
    )
    learned = {"metrics": head.metrics, "recordings": len(heard), "labels": labelled}
    save_model(arguments.output, network, config, {**assessor.card, option: learned}, half=True)
