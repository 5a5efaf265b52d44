"""Audio towers from the Hugging Face Hub or a folder: only their files, every weight, or an error.

``from_pretrained`` on the whole of a large checkpoint leaves a tower's weights random where names
do not match, and only logs it. Here the tower's names select files and tensors, and a weight that
is not found, not used or of another shape stops the build.
"""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from safetensors import SafetensorError
from torch import Tensor, nn

from urgentmos.extras import require
from urgentmos.model.encoders.pretrained import PretrainedConfig
from urgentmos.model.hub import hub_failures, local_path, require_hub
from urgentmos.model.restricted_pickle import load_tensors, read_checkpoint
from urgentmos.model.strict_weights import fill_strictly
from urgentmos.tensor_file import open_tensors

UNUSED_PARTS = ("masked_spec_embed", "adapter", "intermediate_ffn", "proj1", "proj2")
"""Parts of towers that are neither built nor read: of training objectives, of a language model.

Qwen3-Omni's two projections bring the last state to the language model's width, which is not that
of the other states.
"""

_SAFETENSORS, _PICKLE = "model.safetensors", "pytorch_model.bin"
# Names that transformers gave the parts of a weight-normalised kernel before PyTorch's
# parametrizations, and gives them now.
_RENAMED = {
    r"\.weight_g$": ".parametrizations.weight.original0",
    r"\.weight_v$": ".parametrizations.weight.original1",
}
# Of a configuration, what says nothing about the architecture. For labels, of which a tower has
# none, transformers makes a dictionary as long as their number says.
_NOT_ARCHITECTURE = (
    "transformers_version",
    "_name_or_path",
    "architectures",
    "dtype",
    "torch_dtype",
    "num_labels",
    "id2label",
    "label2id",
)


@dataclass
class TowerConfig(PretrainedConfig):
    """Options of a tower that is defined in transformers.

    Attributes:
        checkpoint: Folder, or ``owner/name`` on the Hugging Face Hub; configuration and weights
            are read from there.
        revision: Commit or tag on the Hub.
        architecture: The configuration itself, in the terms of transformers; then nothing is read
            and ``pretrained`` must be false.
        attention: Implementation of attention, where the model offers a choice.
    """

    checkpoint: str | None = None
    revision: str | None = None
    architecture: dict[str, Any] | None = None
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"

    def __post_init__(self) -> None:
        """Check that exactly one thing describes the architecture."""
        if self.architecture is not None and self.pretrained:
            raise ValueError(
                "architecture describes an untrained encoder: set pretrained: false, or leave it "
                "out and let the checkpoint describe itself"
            )
        if self.architecture is None and self.checkpoint is None:
            raise ValueError("checkpoint: expected a folder or an owner/name on the Hub")


def as_saved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a saved model's tower, without a checkpoint to read.

    Raises:
        ValueError: They leave to a checkpoint what the tower is.
    """
    if options.get("architecture") is None:
        raise ValueError(
            "architecture is missing: a saved model states it, and no other checkpoint is read "
            "when one is loaded"
        )
    return {**options, "pretrained": False, "checkpoint": None, "revision": None}


@dataclass(frozen=True)
class TowerFamily:
    """Where transformers keeps a tower and where checkpoints keep its weights.

    Attributes:
        model: Class of the tower in transformers.
        config: Class of its configuration.
        nested: Keys under which the tower's configuration lies in that of a larger model; the
            first that exists is taken.
        prefixes: What its weights' names begin with in a larger checkpoint; the first that occurs
            is taken, and without any of them the whole checkpoint is the tower.
        attention: The one implementation the class has, or None where there is a choice.
    """

    model: str
    config: str
    nested: Sequence[Sequence[str]] = ()
    prefixes: Sequence[str] = ()
    attention: str | None = None


# Numbers with which, at zero or below, transformers builds a tower that fails when it hears, or
# gives no numbers.
_POSITIVE = (
    "layer_norm_eps",
    "num_attention_heads",
    "encoder_attention_heads",
    "rotary_embedding_base",
)


class TowerError(ValueError):
    """A checkpoint that cannot be found, is damaged, or describes no such tower."""


class FileNotThereError(TowerError):
    """A checkpoint without one of its files."""


class _UnreachedError(TowerError):
    """A file that may be on the Hub, which cannot be asked, and is not in its cache."""


def build_tower(family: TowerFamily, config: TowerConfig) -> Any:
    """Build a tower and read its weights.

    Raises:
        TowerError: The checkpoint cannot be found or describes no tower.
        WeightsError: It does not hold exactly the tower's weights.
        MissingExtraError: transformers is not installed.
    """
    transformers = require("transformers", extra="encoders")
    architecture = config.architecture
    if architecture is None:
        architecture = read_architecture(family, config)
    architecture_class = _find_class(transformers, family.config)
    tower_class = _find_class(transformers, family.model)
    try:
        described = architecture_class(**_architecture(architecture))
        _check_positive(described)
        described._attn_implementation = family.attention or config.attention
        tower = tower_class(described)
    except Exception as error:  # transformers checks few values, and each fails in a way of its own
        raise TowerError(
            f"{config.checkpoint or 'architecture'}: no {family.model} of this configuration: "
            f"{type(error).__name__}: {error}"
        ) from error
    for part in UNUSED_PARTS:
        if hasattr(tower, part):
            delattr(tower, part)
    if config.pretrained:
        load_tower(tower, family, config)
    return tower


def read_architecture(family: TowerFamily, config: TowerConfig) -> dict[str, Any]:
    """Read a tower's configuration from its checkpoint; no weights are read."""
    data = read_json("config.json", config)
    for keys in family.nested:
        nested: Any = data
        for key in keys:
            nested = nested.get(key) if isinstance(nested, Mapping) else None
        if nested is not None:
            data = nested
            break
    if not isinstance(data, Mapping):
        raise TowerError(
            f"{config.checkpoint}: expected the configuration of {family.model} in config.json, "
            f"got {type(data).__name__}"
        )
    return _architecture(data)


def read_json(name: str, config: TowerConfig) -> dict[str, Any]:
    """Read one of a checkpoint's JSON files.

    Raises:
        FileNotThereError: The checkpoint has no such file.
        TowerError: The checkpoint cannot be found, or the file is damaged.
    """
    path = _find(name, config)
    if path is None:
        raise FileNotThereError(f"{config.checkpoint} has no {name}")
    return _read_object(path)


def options_to_store(tower: Any) -> dict[str, Any]:
    """Options that a saved model notes of a tower, to build it again without its checkpoint."""
    return {"pretrained": False, "architecture": _architecture(tower.config.to_diff_dict())}


def load_tower(tower: nn.Module, family: TowerFamily, config: TowerConfig) -> None:
    """Read a tower's weights, and only those, into it.

    Raises:
        TowerError: The checkpoint cannot be found or is damaged.
        WeightsError: A weight is missing, there twice, has no place, another shape or no values.
    """
    begins = " or ".join(map(repr, [*family.prefixes, ""]))
    fill_strictly(
        tower,
        (
            (name, tensor)
            for name, tensor in _read_tensors(family, config)
            if name.partition(".")[0] not in UNUSED_PARTS
        ),
        where=f"{config.checkpoint} (names that begin with {begins})",
        target=family.model,
    )


def current_name(name: str) -> str:
    """Name that transformers gives today to a weight of a tower in an older checkpoint."""
    for old, new in _RENAMED.items():
        name = re.sub(old, new, name)
    return name


def _architecture(described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if key not in _NOT_ARCHITECTURE}


def _check_positive(described: Any) -> None:
    for name in _POSITIVE:
        value = getattr(described, name, 1)
        if not value > 0:
            raise ValueError(f"{name}: expected more than 0, got {value}")


def _read_tensors(family: TowerFamily, config: TowerConfig) -> Iterator[tuple[str, Tensor]]:
    index = _find_if_reached(f"{_SAFETENSORS}.index.json", config)
    if index is not None:
        files = _read_index(index)
        prefix = _prefix(files, family)
        for shard in sorted({files[name] for name in files if name.startswith(prefix)}):
            yield from _read_safetensors(_find_or_fail(shard, config), prefix)
        return
    path = _find_if_reached(_SAFETENSORS, config)
    if path is not None:
        with _open(path) as stored:
            prefix = _prefix(stored.keys(), family)
        yield from _read_safetensors(path, prefix)
        return
    try:
        path = _find(_PICKLE, config)
    except _UnreachedError as error:
        raise TowerError(
            f"neither {_SAFETENSORS} nor an index of it was fetched: {error}"
        ) from error
    if path is None:
        raise TowerError(
            f"{config.checkpoint} has neither {_SAFETENSORS}, {_SAFETENSORS}.index.json nor "
            f"{_PICKLE}"
        )
    state = read_checkpoint(path)
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise TowerError(f"{path}: expected names and tensors")
    prefix = _prefix(state, family)
    wanted = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    for name, tensor in load_tensors(wanted, where=str(path)).items():
        yield current_name(name[len(prefix) :]), tensor


def _read_index(path: Path) -> dict[str, str]:
    """Read which file holds which tensor: files beside the index or below, no others."""
    files = _read_object(path).get("weight_map")
    if not isinstance(files, dict) or not all(map(_is_inside, files.values())):
        raise TowerError(f"{path} is damaged: expected weight_map to name files of this checkpoint")
    return files


def _is_inside(name: object) -> bool:
    return (
        isinstance(name, str)
        and name.endswith(".safetensors")
        and not PurePosixPath(name).is_absolute()
        and ".." not in PurePosixPath(name).parts
    )


def _read_safetensors(path: Path, prefix: str) -> Iterator[tuple[str, Tensor]]:
    with _open(path) as stored:
        for name in stored.keys():  # noqa: SIM118 - it is a file, not a mapping
            if name.startswith(prefix):
                try:
                    tensor = stored.get_tensor(name)
                except SafetensorError as error:  # of a type that torch does not have
                    raise TowerError(f"{path}: {name}: {error}") from error
                yield current_name(name[len(prefix) :]), tensor


def _open(path: Path) -> Any:
    try:
        return open_tensors(path)
    except (OSError, SafetensorError) as error:
        raise TowerError(f"{path} is damaged: {error}") from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise TowerError(f"{path} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise TowerError(f"{path}: expected keys and values, got {type(data).__name__}")
    return data


def _prefix(names: Collection[str], family: TowerFamily) -> str:
    for prefix in family.prefixes:
        if any(name.startswith(prefix) for name in names):
            return prefix
    return ""


def _find_or_fail(name: str, config: TowerConfig) -> Path:
    path = _find(name, config)
    if path is None:
        raise TowerError(f"{config.checkpoint} has no {name}, which its index names")
    return path


def _find_if_reached(name: str, config: TowerConfig) -> Path | None:
    """Find a file that need not be: without a network, what was fetched before has to do."""
    try:
        return _find(name, config)
    except _UnreachedError:
        return None


def _find(name: str, config: TowerConfig) -> Path | None:
    folder = local_path(str(config.checkpoint))
    if os.path.isdir(folder):
        return folder / name if (folder / name).exists() else None
    hub = require_hub(str(config.checkpoint))
    try:
        return Path(hub.hf_hub_download(config.checkpoint, name, revision=config.revision))
    except (*hub_failures(), hub.errors.EntryNotFoundError) as error:
        # "Local" is the Hub not reached and the file not cached.
        if isinstance(error, hub.errors.EntryNotFoundError) and not isinstance(
            error, hub.errors.LocalEntryNotFoundError
        ):
            return None
        told = (
            f"no folder {config.checkpoint!r} here, and {name} could not be fetched from the "
            f"Hugging Face Hub: {error}"
        )
        unreached = isinstance(error, hub.errors.LocalEntryNotFoundError)
        raise (_UnreachedError if unreached else TowerError)(told) from error


def _find_class(transformers: Any, name: str) -> Any:
    module, _, model = name.rpartition(".")
    return getattr(require(module, extra="encoders") if module else transformers, model)
