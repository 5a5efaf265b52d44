"""What a row must carry so that its score can be traced."""

from importlib.metadata import PackageNotFoundError, version


def code_version() -> str:
    """Version of the installed package; ``source`` when it runs from a folder, not installed."""
    try:
        return version("urgentmos")
    except PackageNotFoundError:
        return "source"
