"""AMR-WB through libvo-amrwbenc: sox and ffmpeg as distributed decode it but do not encode it."""

import ctypes
import ctypes.util
from functools import cache

import numpy as np

LIBRARY = "vo-amrwbenc"
FRAME_SAMPLES = 320
MAX_FRAME_BYTES = 61
FILE_HEADER = b"#!AMR-WB\n"


@cache
def _library() -> ctypes.CDLL | None:
    found = ctypes.util.find_library(LIBRARY)
    if found is None:
        return None
    library = ctypes.CDLL(found)
    library.E_IF_init.restype = ctypes.c_void_p
    library.E_IF_exit.argtypes = [ctypes.c_void_p]
    library.E_IF_encode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int,
    ]
    return library


def available() -> bool:
    """Return whether the encoder's library is installed."""
    return _library() is not None


def encode(pcm: bytes, *, mode: int) -> bytes:
    """Encode 16-bit samples at 16 kHz into an AMR-WB file.

    Args:
        pcm: Little-endian samples; the last frame is filled up with silence.
        mode: 0 (6.6 kbit/s) to 8 (23.85 kbit/s).

    Raises:
        OSError: The library is not installed or refuses to start.
    """
    library = _library()
    encoder = library.E_IF_init() if library is not None else None
    if library is None or not encoder:
        raise OSError(f"lib{LIBRARY} cannot be loaded; install it (Debian: libvo-amrwbenc0)")
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16)
    frames = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
    buffer = ctypes.create_string_buffer(MAX_FRAME_BYTES)
    coded = [FILE_HEADER]
    try:
        for frame in frames:
            size = library.E_IF_encode(encoder, mode, frame.ctypes.data, buffer, 0)
            coded.append(buffer.raw[:size])
    finally:
        library.E_IF_exit(encoder)
    return b"".join(coded)
