"""The folder of the user in which this package keeps what it can make again."""

import os
from pathlib import Path


class UserCacheError(ValueError):
    """There is no place for a cache; the message says what to set."""


def user_cache() -> Path:
    """Name the folder, which need not exist: ``$XDG_CACHE_HOME/urgentmos``, or in ``~/.cache``.

    Raises:
        UserCacheError: Neither the variable is set nor a home known.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise UserCacheError(f"no folder for a cache: {error} Set XDG_CACHE_HOME to one") from error
    return Path(base) / "urgentmos"
