"""Which systems' recordings begin later or earlier than their references."""

from collections.abc import Sequence

from urgentmos.audio import AudioError, read_audio
from urgentmos.data.alignment import processed_lag_samples
from urgentmos.data.hashing import lot
from urgentmos.data.recording import Recording
from urgentmos.labels.labeller import SAMPLE_RATE

CHECKED = 32
"""Recordings that are looked at: a fault of a system or of a corpus is in many of its recordings,
and each takes as long as its labels."""

LATE_S = 0.005
"""Late by 5 ms, clean speech has an ESTOI of 0.89 on average, by 10 ms 0.76, by 46 ms 0.22."""


def late_systems(recordings: Sequence[Recording]) -> dict[str, float]:
    """Look for systems whose recordings are late against their references.

    Labels that compare the two moment by moment (ESTOI, SDR, LSD, MCD) mean little there.

    Args:
        recordings: Of a corpus; those that state a reference are looked at, drawn by uid.

    Returns:
        By system that was looked at, how many seconds the latest or earliest of its recordings is
        late, negative where it is early; 0 where none of them is so by 5 ms or more.
    """
    stated = [recording for recording in recordings if recording.meta.get("reference_path")]
    late: dict[str, float] = {}
    for recording in sorted(stated, key=lambda each: lot(each.uid))[:CHECKED]:
        try:
            heard = read_audio(recording.audio_path).waveform
            reference = read_audio(recording.meta["reference_path"]).waveform
        except AudioError:
            # It has its reason as a row of its own.
            continue
        seconds = processed_lag_samples(heard, reference) / SAMPLE_RATE
        before = late.setdefault(recording.system_id, 0.0)
        if abs(seconds) >= max(LATE_S, abs(before)):
            late[recording.system_id] = seconds
    return late
