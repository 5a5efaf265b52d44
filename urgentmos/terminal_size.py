"""The size of progress bars on terminals that state none."""

import os
import sys
from typing import Any

_USUAL_COLUMNS, _USUAL_LINES = 80, 24


def bar_size() -> dict[str, Any]:
    """Give tqdm the size of the terminal on stderr where that says 0 columns and 0 lines.

    Terminals made by a program say so: of ``docker run -t`` and ``ssh -tt`` in a job, of
    ``script`` without a terminal. tqdm takes their word, finds no line for the bar, and leaves it
    out.

    Returns:
        ``ncols`` and ``nrows``; nothing where the terminal states its size, or is none: tqdm then
        finds it.
    """
    try:
        stated = os.get_terminal_size(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return {}
    return {} if all(stated) else {"ncols": _USUAL_COLUMNS, "nrows": _USUAL_LINES}
