"""The table of distortions, by name."""

from collections.abc import Mapping

from urgentmos.simulate import (
    amplitude,
    bandwidth,
    enhancement,
    noise,
    packet_loss,
    phase,
    reverberation,
    vocoders,
)
from urgentmos.simulate.codecs import CODEC_KINDS
from urgentmos.simulate.distortion import DistortionKind
from urgentmos.simulate.tools import missing_tools

DISTORTIONS: dict[str, DistortionKind] = {
    "recorded_noise": noise.RECORDED_NOISE,
    "stationary_noise": noise.STATIONARY_NOISE,
    "babble": noise.BABBLE,
    "competing_talker": noise.COMPETING_TALKER,
    "clicks": noise.CLICKS,
    "hum": amplitude.HUM,
    "room": reverberation.ROOM,
    "measured_room": reverberation.MEASURED_ROOM,
    "echo": amplitude.ECHO,
    "hard_clipping": amplitude.HARD_CLIPPING,
    "soft_clipping": amplitude.SOFT_CLIPPING,
    "bit_depth": amplitude.BIT_DEPTH,
    "mnru": amplitude.MNRU,
    "level_jumps": amplitude.LEVEL_JUMPS,
    "compression": amplitude.COMPRESSION,
    "telephone_band": bandwidth.TELEPHONE_BAND,
    "low_pass": bandwidth.LOW_PASS,
    "high_pass": bandwidth.HIGH_PASS,
    "odd_rate": bandwidth.ODD_RATE,
    "aliasing": bandwidth.ALIASING,
    "tilt": bandwidth.TILT,
    "equaliser": bandwidth.EQUALISER,
    "spectral_subtraction": enhancement.SPECTRAL_SUBTRACTION,
    "wiener": enhancement.WIENER,
    "log_mmse": enhancement.LOG_MMSE,
    "mask_errors": enhancement.MASK_ERRORS,
    "coarse_mask": enhancement.COARSE_MASK,
    "unsteady_mask": enhancement.UNSTEADY_MASK,
    "over_suppression": enhancement.OVER_SUPPRESSION,
    "griffin_lim": phase.GRIFFIN_LIM,
    "mel_griffin_lim": phase.MEL_GRIFFIN_LIM,
    "predicted_spectrum": phase.PREDICTED_SPECTRUM,
    "wrong_phase": phase.WRONG_PHASE,
    "spectral_blur": phase.SPECTRAL_BLUR,
    "low_frame_rate": phase.LOW_FRAME_RATE,
    "spectral_holes": phase.SPECTRAL_HOLES,
    "phasiness": phase.PHASINESS,
    "world": vocoders.WORLD,
    "linear_prediction": vocoders.LINEAR_PREDICTION,
    "channel_vocoder": vocoders.CHANNEL_VOCODER,
    "sinusoids": vocoders.SINUSOIDS,
    **CODEC_KINDS,
    "packet_loss": packet_loss.PACKET_LOSS,
    "dropouts": amplitude.DROPOUTS,
}
"""Every distortion of this package; pass ``DISTORTIONS | {...}`` to add your own."""


def unavailable_kinds(kinds: Mapping[str, DistortionKind]) -> dict[str, list[str]]:
    """Return the kinds that cannot run on this machine, each with the tools it lacks."""
    missing = {name: missing_tools(kind.tools) for name, kind in kinds.items()}
    return {name: tools for name, tools in missing.items() if tools}
