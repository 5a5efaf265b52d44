"""Means since the last call, without waiting for the device."""

import time

from torch import Tensor


class RunningMeans:
    """Means of figures that come in every step, kept as tensors.

    Reading a number in every step would wait for the device.
    """

    def __init__(self) -> None:
        self._clear()

    def add(self, values: dict[str, Tensor], *, seconds: float) -> None:
        """Take in figures by name, and the seconds of audio that gave them."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._seconds += seconds

    def take(self) -> dict[str, float]:
        """Give the means since the last call and ``audio_seconds_per_second``; start again."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        elapsed = time.monotonic() - self._began
        means["audio_seconds_per_second"] = self._seconds / max(elapsed, 1e-9)
        self._clear()
        return means

    def _clear(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._seconds = 0.0
        self._began = time.monotonic()
