"""Groups of recordings, and the pairs within them, addressed by number instead of listed."""

import numpy as np

from urgentmos.ndarray import NDArray

Positions = NDArray[np.int64]


class Groups:
    """Members of each group, side by side in one array.

    ::

        members  [ 4 7 9 | 0 2 | 1 3 5 6 ]
        starts     0       3     5
        sizes      3       2     4

    Args:
        keys: Number of each recording's group; below 0 for those in none.

    Attributes:
        size_of_each: Members of each recording's group; 0 for those in none.
    """

    def __init__(self, keys: Positions) -> None:
        self._keys = keys
        order = np.argsort(keys, kind="stable")
        self._members = order[keys[order] >= 0]
        _, self._starts, self._sizes = np.unique(
            keys[self._members], return_index=True, return_counts=True
        )
        group_of_member = np.repeat(np.arange(len(self._sizes)), self._sizes)
        self.size_of_each = np.zeros(len(keys), dtype=np.int64)
        self.size_of_each[self._members] = self._sizes[group_of_member]
        self._start_of_member = self._starts[group_of_member]

    def draw_partners(self, rng: np.random.Generator) -> Positions:
        """Draw another member of each recording's group; the recording itself if it is alone."""
        size = self.size_of_each[self._members]
        place = np.arange(len(self._members)) - self._start_of_member
        step = 1 + rng.integers(np.maximum(size - 1, 1))
        partners = np.arange(len(self._keys))
        partners[self._members] = self._members[self._start_of_member + (place + step) % size]
        return partners

    def num_pairs(self, *, ordered: bool) -> int:
        """Count the pairs, or the ordered ones: (A, B) and (B, A)."""
        return int(self._pairs_per_group(ordered).sum())

    def pair(self, number: Positions, *, ordered: bool) -> tuple[Positions, Positions]:
        """Name the two recordings of each numbered pair."""
        ends = np.cumsum(self._pairs_per_group(ordered))
        group = np.searchsorted(ends, number, side="right")
        rest = number - (ends - self._pairs_per_group(ordered))[group]
        others = self._sizes[group] - 1
        # Every ordered pair is (row, column skipping the row): n rows of n - 1. Half as many rows
        # hold the unordered ones: the end of each row folds into the row that mirrors it.
        #     n = 4   row 0: 01 02 03          n = 5   row 0: 01 02 03 04
        #             row 1: 12 13 | 23                row 1: 12 13 14 | 34
        #                                              (row 2: 23 24)
        if ordered:
            first, second = rest // others, rest % others
            second = second + (second >= first)
        else:
            first, second = _unfold(rest, self._sizes[group])
        start = self._starts[group]
        return self._members[start + first], self._members[start + second]

    def _pairs_per_group(self, ordered: bool) -> Positions:
        pairs: Positions = self._sizes * (self._sizes - 1)
        return pairs if ordered else pairs // 2


def _unfold(number: Positions, size: Positions) -> tuple[Positions, Positions]:
    row, column = number // (size - 1), number % (size - 1)
    in_row = column < size - 1 - row
    first = np.where(in_row, row, size - 1 - row)
    second = np.where(in_row, row + 1 + column, column + 1)
    return first, second
