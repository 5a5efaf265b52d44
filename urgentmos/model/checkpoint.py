"""Models on disk: safetensors and JSON, nothing that can run."""

import contextlib
import difflib
import hashlib
import importlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor

from urgentmos.config import ConfigError, from_dict, save_config, unique_keys
from urgentmos.model.assessor import Assessor
from urgentmos.model.build_errors import BUILD_ERRORS
from urgentmos.model.config import ModelConfig
from urgentmos.model.device import find_device
from urgentmos.model.encoders import Encoder, as_saved
from urgentmos.model.forked import leave_lost_threads
from urgentmos.model.hub import hub_failures, is_hub_id, local_path, require_hub
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.model.strict_weights import laid_out, misfit
from urgentmos.precision import Precision
from urgentmos.tensor_file import read_tensors, save_tensors

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "model_card.json"

_SHIPPED = Path(__file__).resolve().parent.parent / "weights"


_loading = threading.Lock()


class CheckpointError(ValueError):
    """A model that cannot be loaded; the message says what is wrong with it."""


def load_model(
    name: str | Path = "default",
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "float32",
) -> Assessor:
    """Load a model: the same whatever default dtype, device or inference mode is set around it.

    Args:
        name: A shipped model's name, a folder, or ``owner/name`` on the Hugging Face Hub.
        device: Where the weights go.
        precision: What the assessor computes in; ``bfloat16`` is up to twice as fast where the
            hardware has units for it, and not to the last digit.

    Raises:
        DeviceError: There is no such device here.
        CheckpointError: There is no such model, or its files do not fit together.
        MissingExtraError: It is on the Hub and huggingface_hub is not installed, or an encoder
            needs a package that is not, as that of ``accurate`` needs distillmos.
        ValueError: The precision is unknown.
    """
    leave_lost_threads()
    placed = find_device(device)
    folder = find_model(name)
    config = _read_config(folder / CONFIG_FILE)
    card = folder / CARD_FILE
    with _own_defaults():
        stored = _read_weights(folder / WEIGHTS_FILE)
        network = _build(config, stored, folder / CONFIG_FILE)
        _fill(network, stored, folder / WEIGHTS_FILE)
        return Assessor(
            network,
            config,
            model_hash=content_hash(folder),
            card=_read_object(card) if card.exists() else {},
            precision=precision,
        ).to(placed)


def as_assessor(model: Assessor | str | Path | None) -> Assessor:
    """Give an assessor as it is, load what ``load_model`` takes, or the default model for None."""
    if isinstance(model, Assessor):
        return model
    return load_model() if model is None else load_model(model)


@contextlib.contextmanager
def _own_defaults() -> Iterator[None]:
    """Make tensors on the processor, in 32 bits, and such that gradient may pass them.

    Around a module that holds a model, as ``QualityLoss`` does, others are set: by transformers'
    ``from_pretrained`` the meta device and 16 bits.
    """
    # The default dtype is one for the whole process: two threads that load must not take each
    # other's for the one to go back to.
    with _loading:
        dtype = torch.get_default_dtype()
        elsewhere = torch.empty(0).device.type != "cpu"
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
        try:
            # Stating a device costs a third of the time of loading: only where another one is set.
            device = torch.device("cpu") if elsewhere else contextlib.nullcontext()
            with torch.inference_mode(False), device:
                yield
        finally:
            if dtype != torch.float32:
                torch.set_default_dtype(dtype)


def save_model(
    folder: str | Path,
    network: AssessorNetwork,
    config: ModelConfig,
    card: Mapping[str, Any],
    *,
    half: bool = False,
) -> None:
    """Write a model that ``load_model`` reads.

    Args:
        folder: Created where it does not exist.
        network: The network; its weights are copied.
        config: What it was built from.
        card: Model card: plain data.
        half: Store 16-bit floats, half the size; they are read as 32-bit.

    Raises:
        CheckpointError: A weight is not finite, or too large for 16 bits.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{name} has values that {dtype} cannot hold; nothing was saved")
    save_tensors(tensors, folder / WEIGHTS_FILE)
    save_config(_stored_config(config, network), folder / CONFIG_FILE)
    # safetensors lets only the owner read what it writes; the other files follow the umask.
    (folder / WEIGHTS_FILE).chmod((folder / CONFIG_FILE).stat().st_mode)
    (folder / CARD_FILE).write_text(
        json.dumps(dict(card), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def find_model(name: str | Path) -> Path:
    """Find a model's folder by shipped name, path or Hub id.

    Raises:
        CheckpointError: There is none; the message lists what there is.
    """
    _check_name(name)
    shipped = shipped_models()
    if str(name) in shipped:
        return shipped[str(name)]
    folder = local_path(name)
    if os.path.isdir(folder):
        _check_is_no_run(folder)
        return folder
    if os.path.isfile(folder):
        raise CheckpointError(
            f"{str(name)!r} is a file, and a model is a folder: {_way_in(folder)}"
        )
    if isinstance(name, str) and is_hub_id(name):
        return _fetch(name)
    nearest = difflib.get_close_matches(folder.name, shipped, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ":"
    raise CheckpointError(
        f"no folder {str(name)!r} here{hint} expected a folder with {WEIGHTS_FILE} and "
        f"{CONFIG_FILE}, an owner/name on the Hugging Face Hub, or a shipped model "
        f"({', '.join(shipped) or 'none is installed'})"
    )


def _check_is_no_run(folder: Path) -> None:
    """Refuse a folder that is no model but holds some, as what `urgentmos train` writes does."""
    if (folder / CONFIG_FILE).exists():
        return
    inside = sorted(str(config.parent) for config in folder.glob(f"*/{CONFIG_FILE}"))
    if inside:
        raise CheckpointError(
            f"{str(folder)!r} is not a model but a folder of some: give one of them, "
            f"{_some(inside)}"
        )


def _way_in(file: Path) -> str:
    """Say what to give instead of a file."""
    if file.name in {WEIGHTS_FILE, CONFIG_FILE, CARD_FILE}:
        return f"give the one that it lies in, {str(file.parent)!r}"
    if file.suffix in {".pt", ".pth", ".ckpt"}:
        return "urgentmos import-checkpoint makes one from a public UrgentMOS checkpoint"
    return f"give one with {WEIGHTS_FILE} and {CONFIG_FILE} (an archive has to be unpacked)"


def _check_name(name: object) -> None:
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise CheckpointError(
            f"expected a model's name, its folder or a Hub id, got {name!r}; "
            "leave it out for the default model"
        )


def shipped_models() -> dict[str, Path]:
    """Folders of the models that come with the package, by name; ``fast`` is the default."""
    folders = {path.parent.name: path.parent for path in sorted(_SHIPPED.glob(f"*/{CONFIG_FILE}"))}
    return folders | ({"fast": folders["default"]} if "default" in folders else {})


def content_hash(folder: Path) -> str:
    """Twelve hexadecimal digits that name configuration and weights."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


def _stored_config(config: ModelConfig, network: AssessorNetwork) -> ModelConfig:
    encoders = [
        replace(stated, options={**stated.options, **cast(Encoder, built).stored_options})
        for stated, built in zip(config.encoders, network.encoders, strict=True)
    ]
    return replace(config, encoders=encoders)


def _fetch(hub_id: str) -> Path:
    hub = require_hub(hub_id)
    # By name: importing writes a model, and so imports this module.
    importing = importlib.import_module("urgentmos.model.import_checkpoint")
    imported: Path | None
    try:
        folder = hub.snapshot_download(
            hub_id, allow_patterns=[WEIGHTS_FILE, CONFIG_FILE, CARD_FILE]
        )
    except hub_failures() as error:
        imported = importing.find_imported(hub_id)
        if imported is None:
            raise CheckpointError(
                f"no folder {hub_id!r} here, and it could not be fetched from the Hugging Face "
                f"Hub: {error}"
            ) from error
        return imported
    if not (Path(folder) / CONFIG_FILE).exists():
        imported = importing.import_from_hub(hub_id)
        return imported
    return Path(folder)


def _read_config(path: Path) -> ModelConfig:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} is not a model: it has no {path.name}")
    try:
        return from_dict(ModelConfig, _read_object(path), where=str(path))
    except ConfigError as error:
        raise CheckpointError(f"{path} does not describe a model: {error}") from error


def _build(config: ModelConfig, stored: Mapping[str, Tensor], path: Path) -> AssessorNetwork:
    try:
        encoders = [
            as_saved(encoder, where=f"encoders.{index}")
            for index, encoder in enumerate(config.encoders)
        ]
        return build_assessor(replace(config, encoders=encoders), filled_by=stored.values())
    except BUILD_ERRORS as error:
        raise CheckpointError(f"{path} does not describe a model: {error}") from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} does not describe a model: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected keys and values, got {type(data).__name__}")
    return data


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} is not a model: it has no {path.name}")
    try:
        return read_tensors(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def _fill(network: AssessorNetwork, stored: Mapping[str, Tensor], path: Path) -> None:
    expected = network.state_dict()
    dropped = tuple(
        f"encoders.{index}.{part}."
        for index, encoder in enumerate(network.encoders)
        for part in cast(Encoder, encoder).dropped_parts
    )
    stored = {name: tensor for name, tensor in stored.items() if not name.startswith(dropped)}
    _check_fit(network, expected, stored, path)
    weights = {name: laid_out(tensor, expected[name]) for name, tensor in stored.items()}
    network.load_state_dict(weights, assign=True)


def _check_fit(
    network: AssessorNetwork,
    expected: Mapping[str, Tensor],
    stored: Mapping[str, Tensor],
    path: Path,
) -> None:
    missing = [name for name in expected if name not in stored]
    headless = [
        metric
        for metric in network.metrics
        if any(name.startswith(f"heads.{metric}.") for name in missing)
    ]
    if headless:
        raise CheckpointError(
            f"{path} has no weights for the heads of {', '.join(headless)}, which {CONFIG_FILE} "
            "lists; a head without trained weights would invent numbers"
        )
    if missing:
        raise CheckpointError(f"{path} lacks weights that {CONFIG_FILE} asks for: {_some(missing)}")
    unknown = [name for name in stored if name not in expected]
    if unknown:
        raise CheckpointError(
            f"{path} has weights for which {CONFIG_FILE} has no place: {_some(unknown)}"
        )
    for name, tensor in stored.items():
        wrong = misfit(tensor, expected[name])
        if wrong:
            raise CheckpointError(f"{path} does not fit {CONFIG_FILE}: {name} {wrong}")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
