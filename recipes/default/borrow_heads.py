"""Give a model the heads that another model's encoder has of its own, with what they hear.

``python recipes/default/borrow_heads.py MODEL FROM --output FOLDER``: the accurate model borrows
those of the default one. They become one more encoder, of the convolutions that they hear and
nothing else, which gives no hidden states; their scores count by the shares that they have in FROM.
Heads of the same structure that MODEL borrowed before give way to them. What they do not predict,
and comparisons, stay the same to the bit. Nothing is trained. (Of a recording that is longer than a
window the last one can begin earlier than in FROM, by less than a frame: what they say of it then
differs a little.)
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from urgentmos.config import from_dict
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig
from urgentmos.model.encoders.spectral_transformer import SpectralTransformerConfig
from urgentmos.model.network import AssessorNetwork, build_assessor

FAMILY = "spectral_transformer"
HEADS = ("peak_head", "frame_head")


def lender(assessor: Assessor) -> int:
    """Find the encoder that has heads of its own.

    Raises:
        SystemExit: There is none.
    """
    for native in assessor.config.native_scores:
        if assessor.config.encoders[native.encoder].family == FAMILY:
            return native.encoder
    raise SystemExit(
        f"no {FAMILY} of the model that is to lend its heads has a share in its scores"
    )


def heads_alone(stated: EncoderConfig) -> EncoderConfig:
    """State an encoder's own heads, and those of its convolutions that they hear."""
    options = dict(stated.options)
    whole = from_dict(SpectralTransformerConfig, options, where="options")
    shorter: dict[str, Any] = {
        name: getattr(whole, name)[: whole.heard]
        for name in ("channels", "time_strides", "frequency_strides")
    }
    # As long as before, in frames that are shorter.
    shorter["window_frames"] = whole.window_frames * math.prod(whole.time_strides[whole.heard :])
    return replace(stated, options={**options, **shorter, "averaged_frames": 1, "layers": 0})


def with_heads(assessor: Assessor, other: Assessor) -> tuple[AssessorNetwork, ModelConfig]:
    """Build the model with the other's heads, and take all weights.

    Raises:
        SystemExit: The heads predict what the model does not, or what it has from others.
    """
    number = lender(other)
    (native,) = (each for each in other.config.native_scores if each.encoder == number)
    config = assessor.config
    lent = heads_alone(other.config.encoders[number])
    # Heads that were borrowed before give way to those of today.
    place = config.encoders.index(lent) if lent in config.encoders else len(config.encoders)
    kept = [own for own in config.native_scores if own.encoder != place]
    if unknown := set(native.shares).difference(assessor.metrics):
        raise SystemExit(f"the model does not predict {', '.join(sorted(unknown))}")
    if twice := {name for own in kept for name in own.shares} & set(native.shares):
        raise SystemExit(
            f"an encoder has a share in the model's {', '.join(sorted(twice))} already"
        )
    joined = replace(
        config,
        encoders=[*config.encoders[:place], lent, *config.encoders[place + 1 :]],
        native_score=[*kept, replace(native, encoder=place)],
    )
    network = build_assessor(joined)
    network.load_state_dict({**network.state_dict(), **assessor.network.state_dict()})
    weights = other.network.encoders[number].state_dict()
    heads = network.encoders[place]
    heads.load_state_dict({name: weights[name] for name in heads.state_dict()})
    return network.eval(), joined


def main() -> None:
    """Join both and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name, folder or Hub id")
    parser.add_argument("lender", metavar="from", help="a model whose encoder has such heads")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    assessor, other = load_model(arguments.model), load_model(arguments.lender)
    network, config = with_heads(assessor, other)
    card = {**assessor.card, **{name: other.card[name] for name in HEADS if name in other.card}}
    save_model(arguments.output, network, config, card, half=True)


if __name__ == "__main__":
    main()
