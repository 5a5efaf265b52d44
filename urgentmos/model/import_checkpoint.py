"""Public UrgentMOS checkpoints to model folders: read as data, renamed, checked, written anew."""

import os
import tempfile
from datetime import date
from pathlib import Path

from urgentmos.model.build_errors import BUILD_ERRORS
from urgentmos.model.checkpoint import save_model
from urgentmos.model.config import ModelConfig
from urgentmos.model.hub import hub_failures, is_hub_id, local_path, require_hub
from urgentmos.model.network import AssessorNetwork, build_assessor
from urgentmos.model.public_formats import (
    ImportCheckpointError,
    PublicModel,
    describe,
    is_universa,
)
from urgentmos.model.restricted_pickle import RestrictedPickleError, read_checkpoint
from urgentmos.model.strict_weights import WeightsError, fill_strictly
from urgentmos.user_cache import user_cache

__all__ = ["ImportCheckpointError", "find_imported", "import_checkpoint", "import_from_hub"]

CHECKPOINT_FILE = "model.pt"
# On this day both public checkpoints were replaced by ones trained with the layer sum over layers;
# before, it ran over time (commit d383e69 of URGENT-MOS).
FIXED_ON = date(2026, 6, 24)


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
        ImportCheckpointError: It is of the wrong-axis period, not in a known format, or describes
            no model; or its encoder's configuration cannot be read.
        RestrictedPickleError: It holds anything but tensors and plain containers.
        MissingExtraError: huggingface_hub or transformers is needed and not installed.
    """
    path, origin, committed = _locate(source)
    checkpoint = read_checkpoint(path)
    if not isinstance(checkpoint, dict) or "model" not in checkpoint:
        raise ImportCheckpointError(f"{origin} has no weights under 'model'")
    try:
        if not is_universa(checkpoint["model"]):
            _check_period(origin, committed, trained_after_fix=trained_after_fix)
        public = describe(checkpoint, origin, encoder)
    except (ImportCheckpointError, RestrictedPickleError):
        raise
    except (AttributeError, LookupError, TypeError) as error:
        raise ImportCheckpointError(
            f"{origin} is in neither of the formats known here: {error!r} in what it describes"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise ImportCheckpointError(f"{origin}: {error}") from error
    save_model(output, _build(public, origin), public.config, {"imported_from": origin})
    return public.config


def import_from_hub(hub_id: str) -> Path:
    """Import a public checkpoint from the Hub once; later calls give the folder of the first.

    Args:
        hub_id: ``owner/name`` on the Hugging Face Hub.

    Returns:
        A model folder in the user's cache, named after the checkpoint's commit: the last that was
        imported where the Hub cannot be reached.

    Raises:
        ImportCheckpointError: It cannot be imported.
        UserCacheError: There is no place for the cache.
    """
    try:
        _, origin, _ = _locate(hub_id)
    except ImportCheckpointError:
        earlier = find_imported(hub_id)
        if earlier is None:
            raise
        return earlier
    cache = user_cache()
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
    folders = user_cache().glob(f"{hub_id.replace('/', '--')}@*")
    return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)


def _build(public: PublicModel, origin: str) -> AssessorNetwork:
    try:
        network = build_assessor(public.config, filled_by=public.weights.values())
    except BUILD_ERRORS as error:
        raise ImportCheckpointError(f"{origin} does not describe a model: {error}") from error
    try:
        fill_strictly(
            network, public.weights.items(), where=origin, target="the model that it describes"
        )
    except WeightsError as error:
        raise ImportCheckpointError(str(error)) from error
    return network


def _locate(source: str | Path) -> tuple[Path, str, date | None]:
    path = local_path(source)
    if os.path.isdir(path):
        path = path / CHECKPOINT_FILE
    if os.path.isfile(path):
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
