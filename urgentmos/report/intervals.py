"""95 % intervals of a mean and of a share, without scipy."""

import math

_Z = 1.959964
# Student's t, two-sided 95 %, for 1 to 10 degrees of freedom; beyond, the expansion below is exact
# to 0.002.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def t_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t (Abramowitz and Stegun, 26.7.5)."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    z, v = _Z, degrees
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + first + second + third


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927).

    Raises:
        ValueError: There are no trials.
    """
    if trials < 1:
        raise ValueError("a share of nothing has no interval")
    share = successes / trials
    centre = share + _Z**2 / (2 * trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    scale = 1 + _Z**2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
