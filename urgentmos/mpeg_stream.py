"""MP3 files that do not state their length, handed to a decoder as a stream.

Of a file, libsndfile guesses the length by the bit rate of the first frame, and decodes no more
than that: of a variable bit rate it may be a tenth of what is there. A stream it decodes to its
end. The length is stated in a first frame of Xing or LAME (``Info``); Fraunhofer's (``VBRI``)
libsndfile does not read, and some encoders' is without the number of frames. And where files were
joined, it is that of the first alone.
"""

import contextlib
import os
import socket
import threading

from urgentmos.file_position import position_kept

_LENGTH_TAGS = (b"Xing", b"Info")
# What such a tag states, in its flags.
_HAS_FRAMES, _HAS_BYTES = 1, 2
# Some encoders leave a gap behind the ID3 tag; in the first frame the name is 40 bytes in at most.
_SEARCHED_BYTES = 4096
_CHUNK_BYTES = 1 << 16
# Of Lyrics3 v1, which states no size; every other tag is known by fewer bytes at its end.
_LONGEST_LYRICS = 5120


def states_length(descriptor: int) -> bool:
    """Whether an MP3 states its length, that of all of it: behind it no further file begins.

    Args:
        descriptor: The open file; its position stays.
    """
    with position_kept(descriptor):
        start = _audio_start(descriptor)
        os.lseek(descriptor, start, os.SEEK_SET)
        beginning = os.read(descriptor, _SEARCHED_BYTES)
        tags = [tag for tag in _LENGTH_TAGS if tag in beginning]
        if not tags:
            return False
        tag = beginning[beginning.index(tags[0]) :]
        if not _tag_flags(tag) & _HAS_FRAMES:
            return False
        stated = _stated_bytes(tag)
        end = _audio_end(descriptor, start)
        return not (stated and _begins_again(descriptor, start + stated, end=end))


def _tag_flags(tag: bytes) -> int:
    return int.from_bytes(tag[4:8], "big")


def _stated_bytes(tag: bytes) -> int:
    """Read from the tag how many bytes of audio there are, those of its frame too; 0: not said."""
    if not _tag_flags(tag) & _HAS_BYTES:
        return 0
    # Behind the number of frames.
    return int.from_bytes(tag[12:16], "big")


def _begins_again(descriptor: int, position: int, *, end: int) -> bool:
    """Whether a further file begins here, or behind the ID3v1 tag that the first one ends in."""
    # Some encoders do not count the first frame: what is left then is the last.
    if end - position < _SEARCHED_BYTES:
        return False
    os.lseek(descriptor, position, os.SEEK_SET)
    head = os.read(descriptor, 128 + 3)
    if head[:3] == b"TAG":
        head = head[128:]
    is_frame = len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0
    return is_frame or head[:3] == b"ID3"


class MpegStream:
    """A file's audio as a stream, without the tags around it, which a thread fills as it is read.

    Nor does it state its length: a decoder would end there.

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
            beginning = os.read(descriptor, min(_SEARCHED_BYTES, num_bytes))
            num_bytes -= len(beginning)
            for tag in _LENGTH_TAGS:
                beginning = beginning.replace(tag, bytes(len(tag)), 1)
            self._writer.sendall(beginning)
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
