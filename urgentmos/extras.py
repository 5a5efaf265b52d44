"""Optional packages: import one where it is used, or say which extra brings it."""

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A package of an optional extra is not installed."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import a module of an optional extra.

    Args:
        module: Dotted name of the module.
        extra: Extra of this package that installs it.

    Raises:
        MissingExtraError: It cannot be imported; the message says what to install and why the
            import failed.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library of it does not fit this PyTorch
        raise MissingExtraError(
            f"{module.split('.')[0]} is needed here and cannot be imported ({error}); "
            f"install it with: pip install 'urgentmos[{extra}]'"
        ) from error
