"""What public UrgentMOS checkpoints describe: our configuration, and their weights by our names.

Two formats are known, told apart by their weights' names:

- UrgentMOS (https://github.com/vvwangvv/URGENT-MOS): several encoders, groups, a preference head;
  the file holds its configuration;
- UniVersa-Ext (https://github.com/urgent-challenge/urgent2026_challenge_track2): one encoder, one
  Transformer, no preferences. Its configuration is HyperPyYAML, which runs code when read, so it is
  not read: names, order and ranges of its metrics are among the weights, and what weights cannot
  tell (the number of attention heads, the encoder's name) is that of the published model.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from urgentmos.config import from_dict
from urgentmos.metrics import get_metric
from urgentmos.model.config import ModelConfig
from urgentmos.model.encoders import ENCODERS
from urgentmos.model.encoders.audio_tower import (
    UNUSED_PARTS,
    TowerConfig,
    current_name,
    read_json,
)
from urgentmos.model.restricted_pickle import load_tensors

# Encoders that the public code knows by name; the others are told by their model_type.
_FAMILY_BY_NAME = {
    "giangndm/qwen3-30b-omni-audio-encoder": "qwen3_omni",
    "Atotti/Kimi-Audio-Whisper-Encoder": "kimi_audio",
    "Atotti/AFWhisper": "qwen2_audio",
}
_FAMILY_BY_TYPE = {
    "data2vec-audio": "data2vec",
    "qwen2_audio_encoder": "qwen2_audio",
    "wav2vec2-bert": "wav2vec2_bert",
}
# The public order is A better, B better, tie; ours is A better, tie, B better.
_CLASS_ORDER = [0, 2, 1]
_UNIVERSA_ENCODER, _UNIVERSA_HEADS = "microsoft/wavlm-base-plus", 8
_UNIVERSA_GROUP = "naturalness"
# What no weight tells of a group's layers: as `urgentmos.model.groups.GroupEncoder` has it.
_LAYER = {"norm_first": "False", "activation": "relu"}
_FUSION = {"0": "projection", "1": "norm"}
_PREFERENCE = ("cross_attn", "regression_head", "classification_head")


class ImportCheckpointError(ValueError):
    """A checkpoint that cannot be imported; the message says why."""


@dataclass
class PublicModel:
    """What a checkpoint describes.

    Attributes:
        config: The model.
        weights: Its weights under our names.
    """

    config: ModelConfig
    weights: dict[str, Tensor]


def is_universa(weights: Any) -> bool:
    """Whether a checkpoint's weights are those of UniVersa-Ext."""
    return "metric_proj.weight" in weights


def describe(checkpoint: Mapping[str, Any], origin: str, encoder: str | None) -> PublicModel:
    """Say what model a checkpoint holds.

    Args:
        checkpoint: What was read, with its weights under ``model``.
        origin: What it was read from, for error messages.
        encoder: Folder or Hub name whose configuration is that of the only encoder, instead of the
            name that the checkpoint notes. None takes the noted ones.

    Raises:
        ImportCheckpointError: It is of a kind that is not known here.
        RestrictedPickleError: A weight is not a tensor.
        AttributeError, LookupError, TypeError: It is in neither format.
        RuntimeError, ValueError: What it states cannot be, as heads that do not divide the width,
            or the encoder's configuration cannot be read.
    """
    state = load_tensors(checkpoint["model"], where=origin)
    if is_universa(state):
        return _describe_universa(state, encoder or _UNIVERSA_ENCODER, origin)
    described = _model_config(checkpoint, origin)
    names = [each["model_name"] for each in described["feature_extractor"]["feature_extractors"]]
    if encoder is not None and len(names) != 1:
        raise ImportCheckpointError(f"{origin} has {len(names)} encoders; --encoder names one")
    return _describe_urgentmos(
        state,
        described,
        encoders=[_encoder(name, origin) for name in ([encoder] if encoder else names)],
        origin=origin,
    )


def _model_config(checkpoint: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
    try:
        described: Mapping[str, Any] = checkpoint["config"]["model"]
    except (KeyError, TypeError) as error:
        raise ImportCheckpointError(f"{origin} does not hold its configuration") from error
    return described


def _describe_urgentmos(
    state: Mapping[str, Tensor],
    described: Mapping[str, Any],
    *,
    encoders: list[dict[str, Any]],
    origin: str,
) -> PublicModel:
    groups = described["category2metrics"]
    for name in itertools.chain(groups, *groups.values()):
        _as_name(name, "a group or metric", origin)
    layer = described["category2encoder"]["encoder_cfg"]["encoder_layer"]
    for option, ours in _LAYER.items():
        stated = layer.get(option, ours)
        # Containers are told by their type: in a few bytes, one can hold another a million times.
        told = str(stated) if isinstance(stated, bool | str) else type(stated).__name__
        if told != ours:
            raise ImportCheckpointError(
                f"{origin}: its groups have layers of {option}={told}, and those here are of "
                f"{option}={ours}: it would give other scores"
            )
    config = _config(
        encoders=encoders,
        fusion={"dim": len(state["feature_extractor.feat_proj.0.bias"])},
        groups={
            group: {
                "metrics": list(metrics),
                "layers": _count_layers(state, f"category2encoder.{group}.layers."),
                "heads": layer["nhead"],
                "feedforward": len(state[f"category2encoder.{group}.layers.0.linear1.bias"]),
            }
            for group, metrics in groups.items()
        },
        preference=_preference(described, origin),
        bounds={
            metric: _bounds(state, f"metric2absolute_score_predictor.{metric}.activation")
            for metrics in groups.values()
            for metric in metrics
        },
    )
    return PublicModel(config, _rename_all(state, _urgentmos_name, origin))


def _config(**stated: Any) -> ModelConfig:
    # What it states comes from a file: read as from one, its types are checked.
    return from_dict(ModelConfig, {**stated, "level": "none", "shortest_s": 0.0}, where="model")


def _preference(described: Mapping[str, Any], origin: str) -> dict[str, Any] | None:
    compared = [
        (group, metric)
        for group, metrics in described["category2metrics"].items()
        for metric, options in metrics.items()
        if options.get("comparative_score", False)
    ]
    if not compared:
        return None
    if [metric for _, metric in compared] != ["mos_overall"]:
        raise ImportCheckpointError(
            f"{origin} compares recordings on {[metric for _, metric in compared]}; "
            "only preferences on mos_overall are known here"
        )
    heads = described["metric2comparative_score_predictor"]["num_heads"]
    return {"group": compared[0][0], "heads": heads}


def _describe_universa(state: Mapping[str, Tensor], encoder: str, origin: str) -> PublicModel:
    metrics = [name.split(".")[1] for name in state if name.endswith(".min_value")]
    for part in ("weight", "bias"):
        rows = len(state[f"metric_proj.{part}"])
        if rows != len(metrics):
            raise ImportCheckpointError(
                f"{origin}: metric_proj.{part} has {rows} rows, and {len(metrics)} metrics have a "
                "range"
            )
    config = _config(
        encoders=[_encoder(encoder, origin)],
        fusion={"dim": len(state["feat_proj.0.bias"])},
        groups={
            _UNIVERSA_GROUP: {
                "metrics": metrics,
                "layers": _count_layers(state, "encoder.layers."),
                "heads": _UNIVERSA_HEADS,
                "feedforward": len(state["encoder.layers.0.linear1.bias"]),
            }
        },
        bounds={metric: _bounds(state, f"metric2act.{metric}") for metric in metrics},
    )
    # One linear layer gives all metrics, in the order in which their ranges were registered.
    split = {name: tensor for name, tensor in state.items() if not name.startswith("metric_proj.")}
    for row, metric in enumerate(metrics):
        split[f"heads.{metric}.weight"] = state["metric_proj.weight"][row : row + 1]
        split[f"heads.{metric}.bias"] = state["metric_proj.bias"][row : row + 1]
    return PublicModel(config, _rename_all(split, _universa_name, origin))


def _as_name(name: object, what: str, origin: str) -> str:
    if not isinstance(name, str):
        raise ImportCheckpointError(
            f"{origin}: expected the name of {what}, got {type(name).__name__}"
        )
    return name


def _encoder(stated: object, origin: str) -> dict[str, Any]:
    name = _as_name(stated, "an encoder", origin)
    options: dict[str, Any] = {"checkpoint": name, "pretrained": False}
    if name in _FAMILY_BY_NAME:
        return {"family": _FAMILY_BY_NAME[name], "options": options}
    kind = str(read_json("config.json", TowerConfig(checkpoint=name)).get("model_type"))
    family = _FAMILY_BY_TYPE.get(kind, kind)
    if family not in ENCODERS:
        raise ImportCheckpointError(
            f"{origin}: encoder {name} is of type {kind!r}, which is not known here"
        )
    return {"family": family, "options": options}


def _count_layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def _bounds(state: Mapping[str, Tensor], prefix: str) -> tuple[float | None, float | None]:
    low, high = (_number(state, f"{prefix}.{side}_value") for side in ("min", "max"))
    return (None if low == -torch.inf else low, None if high == torch.inf else high)


def _number(state: Mapping[str, Tensor], name: str) -> float:
    stored = state[name]
    if stored.numel() != 1:
        raise ValueError(f"expected a single number as {name}, got shape {tuple(stored.shape)}")
    return float(stored)


def _rename_all(
    state: Mapping[str, Tensor], rename: Callable[[str], str | None], origin: str
) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        ours = rename(name)
        if ours is None:
            raise ImportCheckpointError(f"{origin}: there is no place for {name} in this package")
        if ours:
            is_classes = ours.startswith("preference.classification_head.")
            renamed[ours] = tensor[_CLASS_ORDER] if is_classes else tensor
    return renamed


def _urgentmos_name(name: str) -> str | None:
    parts = name.split(".")
    rest = ".".join(parts[2:])
    match parts:
        case ["feature_extractor", "feature_extractors", index, "weights"]:
            return f"fusion.mixes.{index}.weights"
        case ["feature_extractor", "feature_extractors", index, "model", *inner]:
            return _tower_name(index, inner)
        case ["feature_extractor", "feat_proj", layer, leaf] if layer in _FUSION:
            return f"fusion.{_FUSION[layer]}.{leaf}"
        case ["category2encoder", group, *_]:
            return f"groups.{group}.encoder.{rest}"
        case ["metric2absolute_score_predictor", _, "activation", _]:
            return ""
        case ["metric2absolute_score_predictor", metric, "prediction_head", leaf]:
            return f"heads.{get_metric(metric).name}.linear.{leaf}"
        case ["metric2comparative_score_predictor", _, part, *_] if part in _PREFERENCE:
            return f"preference.{rest}"
    return None


def _universa_name(name: str) -> str | None:
    parts = name.split(".")
    match parts:
        case ["feature_extractor", "weights"]:
            return "fusion.mixes.0.weights"
        case ["feature_extractor", "model", *inner]:
            return _tower_name("0", inner)
        case ["feat_proj", layer, leaf] if layer in _FUSION:
            return f"fusion.{_FUSION[layer]}.{leaf}"
        case ["encoder", *_]:
            return f"groups.{_UNIVERSA_GROUP}.{name}"
        case ["metric2act", *_]:
            return ""
        case ["heads", metric, leaf]:
            return f"heads.{get_metric(metric).name}.linear.{leaf}"
    return None


def _tower_name(index: str, inner: list[str]) -> str:
    if inner[0] in UNUSED_PARTS:
        return ""
    return f"encoders.{index}.tower.{current_name('.'.join(inner))}"
