"""Public UrgentMOS checkpoints to model folders: read as data, renamed, checked, written anew.

Two formats are known, told apart by their weights' names:

- UrgentMOS (https://github.com/vvwangvv/URGENT-MOS): several encoders, groups, a preference head;
  the file holds its configuration;
- UniVersa-Ext (https://github.com/urgent-challenge/urgent2026_challenge_track2): one encoder, one
  Transformer, no preferences. Its configuration is HyperPyYAML, which runs code when read, so it is
  not read: names, order and ranges of its metrics are among the weights, and what weights cannot
  tell (the number of attention heads, the encoder's name) is that of the published model.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from urgentmos.metrics import UnknownMetricError, get_metric
from urgentmos.model.checkpoint import save_model
from urgentmos.model.config import (
    EncoderConfig,
    FusionConfig,
    GroupConfig,
    ModelConfig,
    PreferenceConfig,
)
from urgentmos.model.encoders import ENCODERS
from urgentmos.model.encoders.audio_tower import (
    UNUSED_PARTS,
    TowerConfig,
    current_name,
    read_json,
)
from urgentmos.model.hub import hub_failures, is_hub_id, require_hub
from urgentmos.model.network import build_assessor
from urgentmos.model.restricted_pickle import load_tensors, read_checkpoint
from urgentmos.model.strict_weights import WeightsError, fill_strictly

CHECKPOINT_FILE = "model.pt"
# On this day both public checkpoints were replaced by ones trained with the layer sum over layers;
# before, it ran over time (commit d383e69 of URGENT-MOS).
FIXED_ON = date(2026, 6, 24)
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


class ImportCheckpointError(ValueError):
    """A checkpoint that cannot be imported; the message says why."""


@dataclass
class _Plan:
    """What a checkpoint describes.

    Attributes:
        config: The model.
        weights: Its weights under our names.
    """

    config: ModelConfig
    weights: dict[str, Tensor]


def import_checkpoint(
    source: str | Path,
    output: str | Path,
    *,
    trained_after_fix: bool = False,
    encoder: str | None = None,
) -> ModelConfig:
    """Turn a public checkpoint into a model folder.

    UrgentMOS checkpoints made before 2026-06-24 summed hidden states over time instead of over
    layers. Nothing in a file tells: names, shapes and the noted configuration are the same. So a
    checkpoint from the Hub is told by the date of the file's last commit, and for a local file the
    caller has to know.

    Args:
        source: ``owner/name`` on the Hugging Face Hub, or a local ``model.pt``.
        output: Folder to write.
        trained_after_fix: The local UrgentMOS checkpoint was trained with the corrected code.
        encoder: Folder or Hub name from which the configuration of its only encoder is read,
            instead of the name that the checkpoint notes. No weights are read from there.

    Returns:
        The configuration of the imported model.

    Raises:
        ImportCheckpointError: It is of the wrong-axis period, or not in a known format.
        RestrictedPickleError: It holds anything but tensors and plain containers.
        MissingExtraError: huggingface_hub or transformers is needed and not installed.
    """
    path, origin, committed = _locate(source)
    checkpoint = read_checkpoint(path)
    if not isinstance(checkpoint, dict) or "model" not in checkpoint:
        raise ImportCheckpointError(f"{origin} has no weights under 'model'")
    try:
        if "metric_proj.weight" not in checkpoint["model"]:
            _check_period(origin, committed, trained_after_fix=trained_after_fix)
        plan = _plan(checkpoint, origin, encoder)
    except (AttributeError, KeyError, TypeError) as error:
        raise ImportCheckpointError(
            f"{origin} is in neither of the formats known here: {error!r} in what it describes"
        ) from error
    network = build_assessor(plan.config)
    try:
        fill_strictly(
            network, plan.weights.items(), where=origin, target="the model that it describes"
        )
    except WeightsError as error:
        raise ImportCheckpointError(str(error)) from error
    save_model(output, network, plan.config, {"imported_from": origin})
    return plan.config


def import_from_hub(hub_id: str) -> Path:
    """Import a public checkpoint from the Hub once; later calls give the folder of the first.

    Args:
        hub_id: ``owner/name`` on the Hugging Face Hub.

    Returns:
        A model folder in the user's cache, named after the checkpoint's commit: the last that was
        imported where the Hub cannot be reached.

    Raises:
        ImportCheckpointError: It cannot be imported.
    """
    try:
        _, origin, _ = _locate(hub_id)
    except ImportCheckpointError:
        earlier = find_imported(hub_id)
        if earlier is None:
            raise
        return earlier
    cache = _import_cache()
    folder = cache / origin.replace("/", "--")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as unfinished:
            import_checkpoint(hub_id, Path(unfinished) / "model")
            try:
                (Path(unfinished) / "model").rename(folder)
            except OSError:
                # Another process, as of a training on several devices, may have been first.
                if not folder.exists():
                    raise
    return folder


def find_imported(hub_id: str) -> Path | None:
    """Find what was imported last from a name on the Hub, without asking the Hub."""
    folders = _import_cache().glob(f"{hub_id.replace('/', '--')}@*")
    return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)


def _import_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "urgentmos"


def _locate(source: str | Path) -> tuple[Path, str, date | None]:
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / CHECKPOINT_FILE
    if path.is_file():
        return path, path.name, None
    if not is_hub_id(str(source)):
        raise ImportCheckpointError(
            f"no file {str(path)!r} here: expected a file, a folder with {CHECKPOINT_FILE}, or an "
            "owner/name on the Hugging Face Hub"
        )
    return _fetch(str(source))


def _fetch(hub_id: str) -> tuple[Path, str, date]:
    hub = require_hub(hub_id)
    try:
        found = hub.HfApi().get_paths_info(hub_id, [CHECKPOINT_FILE], expand=True)
        for information in found:
            commit = information.last_commit
            path = Path(hub.hf_hub_download(hub_id, CHECKPOINT_FILE, revision=commit.oid))
            return path, f"{hub_id}@{commit.oid}", commit.date.date()
    except hub_failures() as error:
        raise ImportCheckpointError(
            f"no file {hub_id!r} here, and it could not be fetched from the Hugging Face Hub: "
            f"{error}"
        ) from error
    raise ImportCheckpointError(f"{hub_id} on the Hub has no {CHECKPOINT_FILE}")


def _check_period(origin: str, committed: date | None, *, trained_after_fix: bool) -> None:
    if committed is not None and committed < FIXED_ON:
        raise ImportCheckpointError(
            f"{origin} was committed on {committed}, before {FIXED_ON}: it was trained with hidden "
            "states summed over time instead of over layers, and would give wrong scores here"
        )
    if committed is None and not trained_after_fix:
        raise ImportCheckpointError(
            f"{origin}: UrgentMOS checkpoints made before {FIXED_ON} summed hidden states over "
            "time instead of over layers, and nothing in a local file tells; if this one was "
            "trained with the corrected code (d383e69 or later), say so with --trained-after-fix"
        )


def _model_config(checkpoint: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
    try:
        described: Mapping[str, Any] = checkpoint["config"]["model"]
    except (KeyError, TypeError) as error:
        raise ImportCheckpointError(f"{origin} does not hold its configuration") from error
    return described


def _plan(checkpoint: Mapping[str, Any], origin: str, encoder: str | None) -> _Plan:
    state = load_tensors(checkpoint["model"], where=origin)
    if "metric_proj.weight" in state:
        return _plan_universa(state, encoder or _UNIVERSA_ENCODER)
    described = _model_config(checkpoint, origin)
    names = [each["model_name"] for each in described["feature_extractor"]["feature_extractors"]]
    if encoder is not None and len(names) != 1:
        raise ImportCheckpointError(f"{origin} has {len(names)} encoders; --encoder names one")
    return _plan_urgentmos(
        state,
        described,
        encoders=[_encoder(name) for name in ([encoder] if encoder else names)],
        origin=origin,
    )


def _plan_urgentmos(
    state: Mapping[str, Tensor],
    described: Mapping[str, Any],
    *,
    encoders: list[EncoderConfig],
    origin: str,
) -> _Plan:
    groups = described["category2metrics"]
    layer = described["category2encoder"]["encoder_cfg"]["encoder_layer"]
    compared = [
        (group, metric)
        for group, metrics in groups.items()
        for metric, options in metrics.items()
        if options.get("comparative_score", False)
    ]
    if [metric for _, metric in compared] not in ([], ["mos_overall"]):
        raise ImportCheckpointError(
            f"{origin} compares recordings on {[metric for _, metric in compared]}; "
            "only preferences on mos_overall are known here"
        )
    preference = described.get("metric2comparative_score_predictor") or {}
    config = ModelConfig(
        encoders=encoders,
        fusion=FusionConfig(len(state["feature_extractor.feat_proj.0.bias"])),
        groups={
            group: GroupConfig(
                metrics=list(metrics),
                layers=_count_layers(state, f"category2encoder.{group}.layers."),
                heads=layer["nhead"],
                feedforward=len(state[f"category2encoder.{group}.layers.0.linear1.bias"]),
            )
            for group, metrics in groups.items()
        },
        preference=PreferenceConfig(group=compared[0][0], heads=preference["num_heads"])
        if compared
        else None,
        level="none",
        shortest_s=0.0,
        bounds={
            metric: _bounds(state, f"metric2absolute_score_predictor.{metric}.activation")
            for metrics in groups.values()
            for metric in metrics
        },
    )
    return _Plan(config, _rename_all(state, _urgentmos_name, origin))


def _plan_universa(state: Mapping[str, Tensor], encoder: str) -> _Plan:
    metrics = [name.split(".")[1] for name in state if name.endswith(".min_value")]
    config = ModelConfig(
        encoders=[_encoder(encoder)],
        fusion=FusionConfig(len(state["feat_proj.0.bias"])),
        groups={
            _UNIVERSA_GROUP: GroupConfig(
                metrics=list(metrics),
                layers=_count_layers(state, "encoder.layers."),
                heads=_UNIVERSA_HEADS,
                feedforward=len(state["encoder.layers.0.linear1.bias"]),
            )
        },
        level="none",
        shortest_s=0.0,
        bounds={metric: _bounds(state, f"metric2act.{metric}") for metric in metrics},
    )
    # One linear layer gives all metrics, in the order in which their ranges were registered.
    split = {name: tensor for name, tensor in state.items() if not name.startswith("metric_proj.")}
    for row, metric in enumerate(metrics):
        split[f"heads.{metric}.weight"] = state["metric_proj.weight"][row : row + 1]
        split[f"heads.{metric}.bias"] = state["metric_proj.bias"][row : row + 1]
    return _Plan(config, _rename_all(split, _universa_name, "the checkpoint"))


def _encoder(name: str) -> EncoderConfig:
    options: dict[str, Any] = {"checkpoint": name, "pretrained": False}
    if name in _FAMILY_BY_NAME:
        return EncoderConfig(_FAMILY_BY_NAME[name], options)
    kind = str(read_json("config.json", TowerConfig(checkpoint=name)).get("model_type"))
    family = _FAMILY_BY_TYPE.get(kind, kind)
    if family not in ENCODERS:
        raise ImportCheckpointError(f"encoder {name} is of type {kind!r}, which is not known here")
    return EncoderConfig(family, options)


def _count_layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def _bounds(state: Mapping[str, Tensor], prefix: str) -> tuple[float | None, float | None]:
    low, high = (float(state[f"{prefix}.{side}_value"]) for side in ("min", "max"))
    return (None if low == -torch.inf else low, None if high == torch.inf else high)


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
            return f"heads.{_metric(metric)}.linear.{leaf}"
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
            return f"heads.{_metric(metric)}.linear.{leaf}"
    return None


_FUSION = {"0": "projection", "1": "norm"}
_PREFERENCE = ("cross_attn", "regression_head", "classification_head")


def _tower_name(index: str, inner: list[str]) -> str:
    if inner[0] in UNUSED_PARTS:
        return ""
    return f"encoders.{index}.tower.{current_name('.'.join(inner))}"


def _metric(name: str) -> str:
    try:
        return get_metric(name).name
    except UnknownMetricError as error:
        raise ImportCheckpointError(f"the checkpoint predicts {name!r}: {error}") from error
