"""Encoders by family name: each turns waveforms into hidden states at its own frame rate."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from urgentmos.config import ConfigError, from_dict
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders.complex_spectrum import (
    ComplexSpectrumConfig,
    build_complex_spectrum,
)
from urgentmos.model.encoders.distill_mos import DistillMosConfig, build_distill_mos
from urgentmos.model.encoders.encoder import Encoder, EncoderOutput
from urgentmos.model.encoders.log_mel import LogMelConfig, build_log_mel

__all__ = ["ENCODERS", "Encoder", "EncoderFamily", "EncoderOutput", "build_encoder"]


@dataclass(frozen=True)
class EncoderFamily:
    """One kind of encoder.

    Attributes:
        config_class: Dataclass of its options.
        build: Makes the encoder from such a dataclass.
    """

    config_class: type[Any]
    build: Callable[[Any], Encoder]


ENCODERS: dict[str, EncoderFamily] = {
    "log_mel": EncoderFamily(LogMelConfig, build_log_mel),
    "complex_spectrum": EncoderFamily(ComplexSpectrumConfig, build_complex_spectrum),
    "distill_mos": EncoderFamily(DistillMosConfig, build_distill_mos),
}


def build_encoder(config: EncoderConfig, *, where: str = "encoder") -> Encoder:
    """Make one encoder.

    Args:
        config: Family name and that family's options.
        where: Its place in the whole configuration, for error messages.

    Raises:
        ConfigError: There is no such family, or it has no such option.
    """
    family = ENCODERS.get(config.family)
    if family is None:
        nearest = difflib.get_close_matches(config.family, ENCODERS, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(ENCODERS)}"
        raise ConfigError(f"{where}.family: unknown encoder {config.family!r}; {hint}")
    options = from_dict(family.config_class, config.options, where=f"{where}.options")
    try:
        return family.build(options)
    except ValueError as error:
        raise ConfigError(f"{where}.options: {error}") from error
