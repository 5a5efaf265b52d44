"""Give a model the heads that another model's encoder has of its own, with what they hear.

``python recipes/default/borrow_heads.py MODEL FROM --output FOLDER``: the accurate model borrows
those of the default one. They become one more encoder, of the convolutions that they hear and
nothing else, which gives no hidden states; their scores count by the shares that they have in FROM.
What they do not predict, and comparisons, stay the same to the bit. Nothing is trained. (Of a
recording that is longer than a window the last one can begin earlier than in FROM, by less than a
frame: what they say of it then differs a little.)
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from urgentmos.config import from_dict
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import EncoderConfig, ModelConfig, NativeScoreConfig
from urgentmos.model.encoders.spectral_transformer import (
    SpectralTransformerConfig,
    SpectralTransformerEncoder,
)
from urgentmos.model.network import build_assessor

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
    heard = max(head.after for head in (whole.peak_head, whole.frame_head) if head is not None)
    shorter: dict[str, Any] = {
        name: getattr(whole, name)[:heard]
        for name in ("channels", "time_strides", "frequency_strides")
    }
    # As long as before, in frames that are shorter.
    finer = 1
    for stride in whole.time_strides[heard:]:
        finer *= stride
    shorter["window_frames"] = whole.window_frames * finer
    shorter["averaged_frames"] = 1
    return replace(stated, options={**options, **shorter, "layers": 0})


def with_heads(assessor: Assessor, other: Assessor) -> tuple[ModelConfig, dict[str, Any]]:
    """State the model with the other's heads, and give the weights of these.

    Raises:
        SystemExit: The heads predict what the model does not.
    """
    number = lender(other)
    encoder = cast(SpectralTransformerEncoder, other.network.encoders[number])
    (native,) = (each for each in other.config.native_scores if each.encoder == number)
    if unknown := set(native.shares).difference(assessor.metrics):
        raise SystemExit(f"the model does not predict {', '.join(sorted(unknown))}")
    config = assessor.config
    place = len(config.encoders)
    lent = NativeScoreConfig(encoder=place, shares=dict(native.shares))
    changed = replace(
        config,
        encoders=[*config.encoders, heads_alone(other.config.encoders[number])],
        native_score=[*config.native_scores, lent],
    )
    kept = ("convolutions.", *(f"{name}." for name in HEADS))
    weights = {
        f"encoders.{place}.{name}": weight
        for name, weight in encoder.state_dict().items()
        if name.startswith(kept)
    }
    return changed, weights


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
    config, lent = with_heads(assessor, other)
    network = build_assessor(config).eval()
    weights = {**assessor.network.state_dict(), **lent}
    missing = network.load_state_dict(
        {name: weight for name, weight in weights.items() if name in network.state_dict()}
    )
    print(f"{len(lent)} tensors of the heads of {arguments.lender}: {missing}")
    card = {**assessor.card, **{name: other.card[name] for name in HEADS if name in other.card}}
    save_model(arguments.output, network, config, card, half=True)


if __name__ == "__main__":
    main()
