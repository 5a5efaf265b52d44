"""Encoders by family name: each turns waveforms into hidden states at its own frame rate."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from urgentmos.config import ConfigError, from_dict
from urgentmos.model.build_errors import BUILD_ERRORS
from urgentmos.model.config import EncoderConfig
from urgentmos.model.encoders import audio_tower, s3prl_upstream, torchaudio_pipelines
from urgentmos.model.encoders.complex_spectrum import (
    ComplexSpectrumConfig,
    build_complex_spectrum,
)
from urgentmos.model.encoders.distill_mos import DistillMosConfig, build_distill_mos
from urgentmos.model.encoders.encoder import Encoder, EncoderOutput
from urgentmos.model.encoders.log_mel import LogMelConfig, build_log_mel
from urgentmos.model.encoders.pretrained import PretrainedConfig
from urgentmos.model.encoders.qwen3_omni import Qwen3OmniConfig, build_qwen3_omni
from urgentmos.model.encoders.s3prl_upstream import S3prlConfig, build_s3prl
from urgentmos.model.encoders.spectral_transformer import (
    SpectralTransformerConfig,
    build_spectral_transformer,
)
from urgentmos.model.encoders.torchaudio_pipelines import TorchaudioConfig, build_torchaudio
from urgentmos.model.encoders.wav2vec2_bert import Wav2Vec2BertConfig, build_wav2vec2_bert
from urgentmos.model.encoders.waveform_transformers import (
    BUILD_WAVEFORM_TRANSFORMER,
    WaveformTransformerConfig,
)
from urgentmos.model.encoders.whisper import BUILD_WHISPER, WhisperConfig

__all__ = [
    "ENCODERS",
    "Encoder",
    "EncoderFamily",
    "EncoderOutput",
    "as_saved",
    "brings_weights",
    "build_encoder",
    "runs_when_built",
    "without_weights",
]


@dataclass(frozen=True)
class EncoderFamily:
    """One kind of encoder.

    Attributes:
        config_class: Dataclass of its options.
        build: Makes the encoder from such a dataclass.
        as_saved: Removes from a saved model's options whatever would read weights that the model
            holds itself; a ValueError names an option that is missing. None leaves them as they
            are.
        runs_when_built: Whether building the encoder runs it, and so needs weights in any case.
    """

    config_class: type[Any]
    build: Callable[[Any], Encoder]
    as_saved: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    runs_when_built: bool = False


ENCODERS: dict[str, EncoderFamily] = {
    "log_mel": EncoderFamily(LogMelConfig, build_log_mel),
    "complex_spectrum": EncoderFamily(ComplexSpectrumConfig, build_complex_spectrum),
    "spectral_transformer": EncoderFamily(SpectralTransformerConfig, build_spectral_transformer),
    "distill_mos": EncoderFamily(DistillMosConfig, build_distill_mos),
    **{
        name: EncoderFamily(WaveformTransformerConfig, build, audio_tower.as_saved)
        for name, build in BUILD_WAVEFORM_TRANSFORMER.items()
    },
    **{
        name: EncoderFamily(WhisperConfig, build, audio_tower.as_saved)
        for name, build in BUILD_WHISPER.items()
    },
    "wav2vec2_bert": EncoderFamily(Wav2Vec2BertConfig, build_wav2vec2_bert, audio_tower.as_saved),
    "qwen3_omni": EncoderFamily(Qwen3OmniConfig, build_qwen3_omni, audio_tower.as_saved),
    "s3prl": EncoderFamily(S3prlConfig, build_s3prl, s3prl_upstream.as_saved, runs_when_built=True),
    "torchaudio": EncoderFamily(TorchaudioConfig, build_torchaudio, torchaudio_pipelines.as_saved),
}


def runs_when_built(config: EncoderConfig) -> bool:
    """Whether building the encoder runs it, and so needs weights in any case."""
    family = ENCODERS.get(config.family)
    return family is not None and family.runs_when_built


def brings_weights(config: EncoderConfig) -> bool:
    """Whether building the encoder reads its weights or runs it."""
    if runs_when_built(config):
        return True
    return _is_pretrained(config) and config.options.get("pretrained") is not False


def without_weights(config: EncoderConfig) -> EncoderConfig:
    """The same encoder as a structure: of a pretrained one, only its configuration is read."""
    if not _is_pretrained(config):
        return config
    return replace(config, options={**config.options, "pretrained": False})


def as_saved(config: EncoderConfig, *, where: str) -> EncoderConfig:
    """The encoder of a saved model, which holds its weights: no checkpoint is read for it.

    The trunk of Distill-MOS, which a saved model can leave out, stays as it is: it comes with the
    installed package, of which the model states the digest.

    Args:
        config: What the saved model states.
        where: Its place in the whole configuration, for error messages.

    Raises:
        ConfigError: It leaves to a checkpoint what the encoder is.
    """
    family = ENCODERS.get(config.family)
    if family is None or family.as_saved is None:
        return config
    try:
        return replace(config, options=family.as_saved(config.options))
    except ValueError as error:
        raise ConfigError(f"{where}.options.{error}") from error


def _is_pretrained(config: EncoderConfig) -> bool:
    family = ENCODERS.get(config.family)
    return family is not None and issubclass(family.config_class, PretrainedConfig)


def build_encoder(config: EncoderConfig, *, where: str = "encoder") -> Encoder:
    """Make one encoder.

    Args:
        config: Family name and that family's options.
        where: Its place in the whole configuration, for error messages.

    Raises:
        ConfigError: There is no such family, or it has no such option, or cannot be made of them.
    """
    family = ENCODERS.get(config.family)
    if family is None:
        nearest = difflib.get_close_matches(config.family, ENCODERS, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(ENCODERS)}"
        raise ConfigError(f"{where}.family: unknown encoder {config.family!r}; {hint}")
    own = from_dict(family.config_class, config.options, where=f"{where}.options")
    try:
        return family.build(own)
    except BUILD_ERRORS as error:
        raise ConfigError(f"{where}.options: {error}") from error
