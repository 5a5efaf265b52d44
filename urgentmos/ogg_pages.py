"""Pages of Ogg files: whether streams follow each other in one file (RFC 3533, section 4).

Of such a chain, as a radio's recordings and joined files are, libsndfile decodes the first stream
and does not say that there are more.
"""

import os

from urgentmos.file_position import position_kept

_HEADER_BYTES = 27
_BEGINS_STREAM = 0x02


def has_further_streams(descriptor: int) -> bool:
    """Whether a stream begins behind the pages of others; those side by side all begin in front.

    Args:
        descriptor: The open file; its position stays.
    """
    with position_kept(descriptor):
        return _has_further_streams(descriptor)


def _has_further_streams(descriptor: int) -> bool:
    start, in_front = 0, True
    while True:
        os.lseek(descriptor, start, os.SEEK_SET)
        # 255 segments at most, one byte each.
        head = os.read(descriptor, _HEADER_BYTES + 255)
        if len(head) < _HEADER_BYTES or head[:4] != b"OggS":
            return False
        if not head[5] & _BEGINS_STREAM:
            in_front = False
        elif not in_front:
            return True
        sizes_end = _HEADER_BYTES + head[26]
        start += sizes_end + sum(head[_HEADER_BYTES:sizes_end])
