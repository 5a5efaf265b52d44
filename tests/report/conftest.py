import pytest

from urgentmos.report.row_file import Record


@pytest.fixture
def columns() -> dict[str, type]:
    return {
        "path": str,
        "status": str,
        "error": str,
        "duration_s": float,
        "channels": int,
        "model": str,
        "mos": float,
    }


@pytest.fixture
def records() -> list[Record]:
    """Names that try a file format, and values that may be missing."""
    names = [
        "plain.wav",
        "with space.wav",
        'comma, "quotes".wav',
        "line\nbreak\r.wav",
        "naïve 音.wav",
        "not \udcff unicode.wav",
        "-v.wav",
        "lone\rreturn.wav",
    ]
    return [
        {
            "path": name,
            "status": "failed" if item == 3 else "ok",
            "error": "no such file" if item == 3 else "",
            "duration_s": None if item == 3 else 1.25 + item,
            "channels": None if item == 3 else item + 1,
            "model": "abc+1",
            "mos": None if item == 3 else 3.14159 + item,
        }
        for item, name in enumerate(names)
    ]
