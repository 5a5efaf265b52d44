"""The Hugging Face Hub: which names are valid ids or paths, and which errors it raises."""

import os
import re
from pathlib import Path
from types import ModuleType

from urgentmos.extras import MissingExtraError, require

# A name of the Hub begins with neither a dot nor a tilde; a path may.
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_hub_id(name: str) -> bool:
    """Whether a name can be ``owner/name`` on the Hub: ``./mine`` and ``mine.pt`` cannot."""
    return _HUB_ID.fullmatch(name) is not None


def local_path(name: str | Path) -> Path:
    """Where a name would lie on this machine, for `os.path.isdir` and its like to look.

    `Path`'s own raise where a name is too long, or begins with the home of nobody.
    """
    return Path(os.path.expanduser(name))


def require_hub(name: str) -> ModuleType:
    """Import huggingface_hub to look for a name that is nothing here.

    Raises:
        MissingExtraError: It is not installed; the message begins with what is not here.
    """
    try:
        return require("huggingface_hub", extra="encoders")
    except MissingExtraError as error:
        raise MissingExtraError(
            f"no file or folder {name!r} here; to look for it on the Hugging Face Hub, {error}"
        ) from error


def hub_failures() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises when the Hub cannot be reached or has no such thing."""
    errors = require("huggingface_hub.errors", extra="encoders")
    # Failures to connect come as those of the HTTP library, which is another one in each major
    # version. Its base class is among those of huggingface_hub's own.
    return (OSError, ValueError, *errors.HfHubHTTPError.__bases__)
