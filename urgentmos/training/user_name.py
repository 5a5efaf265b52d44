"""A name for users without one, whom containers often run under."""

import getpass
import os


def name_nameless_user() -> None:
    """Set ``LOGNAME`` to the number of a user whom the system has no name for.

    With the first optimizer torch imports its compiler, which names a folder by the user and fails
    where there is no such name.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        # OSError from Python 3.13 on.
        os.environ["LOGNAME"] = str(os.getuid())
