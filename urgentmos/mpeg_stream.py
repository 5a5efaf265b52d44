"""MP3 files that do not state their length, handed to a decoder as a stream.

Of a file, libsndfile guesses the length by the bit rate of the first frame, and decodes no more
than that: of a variable bit rate it may be a tenth of what is there. A stream it decodes to its
end. The length is stated in a first frame of Xing or LAME (``Info``); Fraunhofer's (``VBRI``)
libsndfile does not read.
"""

import contextlib
import os
import socket
import threading

_LENGTH_TAGS = (b"Xing", b"Info")
# Some encoders leave a gap behind the ID3 tag; in the first frame the name is 40 bytes in at most.
_SEARCHED_BYTES = 4096
_CHUNK_BYTES = 1 << 16


def states_length(descriptor: int) -> bool:
    """Whether an MP3 states its length.

    Args:
        descriptor: The open file; its position stays.
    """
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, _audio_start(descriptor), os.SEEK_SET)
        beginning = os.read(descriptor, _SEARCHED_BYTES)
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
    return any(tag in beginning for tag in _LENGTH_TAGS)


class MpegStream:
    """A file's audio as a stream, which a thread fills as it is read.

    Args:
        descriptor: The open file, whose position moves until the stream is closed.
    """

    def __init__(self, descriptor: int) -> None:
        os.lseek(descriptor, _audio_start(descriptor), os.SEEK_SET)
        # Not a pipe: a process that is forked meanwhile would keep its end from coming.
        self._reader, self._writer = socket.socketpair()
        self._thread = threading.Thread(target=self._fill, args=(descriptor,), daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Give the descriptor to read from."""
        return self._reader.fileno()

    def close(self) -> None:
        """End the stream, wherever it is."""
        with contextlib.suppress(OSError):
            self._reader.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._reader.close()
        self._writer.close()

    def _fill(self, descriptor: int) -> None:
        # An error of the reader, or of the disk, ends the stream.
        with contextlib.suppress(OSError):
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                self._writer.sendall(chunk)
        with contextlib.suppress(OSError):
            self._writer.shutdown(socket.SHUT_WR)


def _audio_start(descriptor: int) -> int:
    """Find the end of the ID3 tags in front; pictures make them large."""
    start = 0
    while True:
        os.lseek(descriptor, start, os.SEEK_SET)
        head = os.read(descriptor, 10)
        if len(head) < 10 or head[:3] != b"ID3":
            return start
        size = 0
        for byte in head[6:10]:
            # Seven bits of each byte count.
            size = size << 7 | byte & 0x7F
        has_footer = bool(head[5] & 0x10)
        start += 10 + size + 10 * has_footer
