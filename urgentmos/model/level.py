"""The level at which a model hears a recording."""

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

# -26 dB re full scale: the level to which ITU-T P.830 has speech material brought.
_TARGET_RMS = 10 ** (-26 / 20)
# Power of a signal 100 dB below full scale. Below it the gain stops growing: silence stays silent,
# and its gradient finite.
_POWER_FLOOR = 1e-10


def normalise_rms(
    waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch samples"]:
    """Scale each recording to -26 dB re full scale over its own samples.

    Args:
        waveform: Zero beyond each recording's length.
        lengths: Samples of each recording.
    """
    power = waveform.square().sum(dim=1) / lengths
    return waveform * (_TARGET_RMS * (power + _POWER_FLOOR).rsqrt())[:, None]


def keep_level(
    waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch samples"]:
    """Leave each recording as it is."""
    return waveform


LEVELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"rms": normalise_rms, "none": keep_level}
