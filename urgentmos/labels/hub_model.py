"""Models of transformers that a label tool runs: load one, or say what to fetch."""

from typing import Any

from urgentmos.extras import MissingExtraError, require

INSTALL_TRANSFORMERS = "pip install 'urgentmos[encoders]'"


def load_pretrained(class_name: str, name: str) -> Any:
    """Load a pretrained part of transformers from its cache or the Hugging Face Hub.

    Args:
        class_name: Class in transformers, such as ``HubertModel``.
        name: Name on the Hub, or a folder.

    Raises:
        MissingExtraError: transformers is not installed, or the model is not in its cache and
            there is no network.
    """
    transformers = require("transformers", extra="encoders")
    try:
        return getattr(transformers, class_name).from_pretrained(name)
    except OSError as error:
        raise MissingExtraError(
            f"{name} is not on this machine and cannot be fetched; on a machine with a network run "
            f"'hf download {name}' and copy its cache folder, or set HF_HOME ({_first_line(error)})"
        ) from error


def _first_line(error: OSError) -> str:
    return str(error).strip().split("\n")[0]
