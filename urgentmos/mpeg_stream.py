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
# Of Lyrics3 v1, which states no size; every other tag is known by fewer bytes at its end.
_LONGEST_LYRICS = 5120


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
    """A file's audio as a stream, without the tags around it, which a thread fills as it is read.

    Args:
        descriptor: The open file, whose position moves until the stream is closed.
    """

    def __init__(self, descriptor: int) -> None:
        start = _audio_start(descriptor)
        num_bytes = _audio_end(descriptor, start) - start
        os.lseek(descriptor, start, os.SEEK_SET)
        # Not a pipe: a process that is forked meanwhile would keep its end from coming.
        self._reader, self._writer = socket.socketpair()
        self._thread = threading.Thread(
            target=self._fill, args=(descriptor, num_bytes), daemon=True
        )
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

    def _fill(self, descriptor: int, num_bytes: int) -> None:
        # An error of the reader, or of the disk, ends the stream.
        with contextlib.suppress(OSError):
            while chunk := os.read(descriptor, min(_CHUNK_BYTES, num_bytes)):
                num_bytes -= len(chunk)
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
        has_footer = bool(head[5] & 0x10)
        start += 10 + _id3_size(head) + 10 * has_footer


def _id3_size(head: bytes) -> int:
    size = 0
    for byte in head[6:10]:
        # Seven bits of each byte count.
        size = size << 7 | byte & 0x7F
    return size


def _audio_end(descriptor: int, start: int) -> int:
    """Find the beginning of the tags behind the audio, of which there may be several."""
    end = os.fstat(descriptor).st_size
    while True:
        first = max(start, end - _LONGEST_LYRICS)
        os.lseek(descriptor, first, os.SEEK_SET)
        size = _size_of_last_tag(os.read(descriptor, end - first))
        if size == 0 or size > end - start:
            return end
        end -= size


def _size_of_last_tag(tail: bytes) -> int:
    """Give the bytes of the tag that a file ends in, 0 where it ends in none.

    ID3v1 with its extension, ID3v2.4 (section 3.4), APEv1 and v2, Lyrics3 v1 and v2.
    """
    size = 0
    if tail[-128:-125] == b"TAG":
        size = 128 + 227 * (tail[-355:-351] == b"TAG+")
    elif tail[-10:-7] == b"3DI":
        size = 10 + _id3_size(tail[-10:]) + 10
    elif tail[-32:-24] == b"APETAGEX":
        # The stated size is without the header, which only some have.
        has_header = tail[-9] >> 7
        size = int.from_bytes(tail[-20:-16], "little") + 32 * has_header
    elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
        size = int(tail[-15:-9]) + 15
    elif tail[-9:] == b"LYRICSEND" and b"LYRICSBEGIN" in tail:
        size = len(tail) - tail.rindex(b"LYRICSBEGIN")
    return size
