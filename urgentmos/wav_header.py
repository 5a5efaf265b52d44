"""WAV files whose header states no samples, although some follow.

A recorder writes the header first, with 0 for the length, and corrects it when it stops. Where it
is killed, libsndfile takes the samples for further chunks and finds no audio.
"""

import contextlib
import os

from urgentmos.file_position import position_kept

# Notes of broadcasters (``bext``, ``cart``) may stand before the samples.
_SEARCHED_BYTES = 1 << 16
_MAX_SIZE = (1 << 32) - 1


def find_unstated_samples(descriptor: int) -> int | None:
    """Find where the samples begin that the header of a WAV does not know of.

    Args:
        descriptor: The open file; its position stays.

    Returns:
        Position of the first; None where the header states some, or there are none.
    """
    with position_kept(descriptor):
        os.lseek(descriptor, 0, os.SEEK_SET)
        head = os.read(descriptor, _SEARCHED_BYTES)
    start = _data_start(head)
    if start is None or start >= os.fstat(descriptor).st_size:
        return None
    states_samples = head[start - 4 : start] != bytes(4)
    # Then other chunks follow, as notes may.
    goes_on = int.from_bytes(head[4:8], "little") > start - 8
    return None if states_samples or goes_on else start


def _data_start(head: bytes) -> int | None:
    if head[:4] != b"RIFF":
        return None
    position = 12
    while position + 8 <= len(head):
        size = int.from_bytes(head[position + 4 : position + 8], "little")
        if head[position : position + 4] == b"data":
            return position + 8
        position += 8 + size + size % 2
    return None


class CorrectedWav:
    """A WAV with the length in its header that its recorder would have put there.

    Args:
        descriptor: The open file, whose position moves.
        start: Where its samples begin.
    """

    def __init__(self, descriptor: int, start: int) -> None:
        self._descriptor = descriptor
        num_bytes = min(os.fstat(descriptor).st_size - start, _MAX_SIZE)
        self._corrected = dict(enumerate(num_bytes.to_bytes(4, "little"), start - 4))
        os.lseek(descriptor, 0, os.SEEK_SET)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, and give it."""
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        """Give the position."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def read(self, num_bytes: int) -> bytes:
        """Read on, as far as the disk lets it."""
        position, content = self.tell(), bytearray()
        with contextlib.suppress(OSError):
            content += os.read(self._descriptor, num_bytes)
        for place, byte in self._corrected.items():
            if position <= place < position + len(content):
                content[place - position] = byte
        return bytes(content)
