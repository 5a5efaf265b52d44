"""Reverberation: shoebox rooms by the image method, and measured impulse responses."""

from typing import Any

import numpy as np
from jaxtyping import Float

from urgentmos.ndarray import NDArray
from urgentmos.simulate.distortion import (
    SAMPLE_RATE,
    DistortionKind,
    Params,
    Waveform,
    between,
    between_ratio,
)
from urgentmos.simulate.levels import with_level_of
from urgentmos.simulate.sources import Sources
from urgentmos.simulate.spectrum import filtered

SOUND_SPEED = 343.0
IMAGE_SECONDS = 0.08
"""Reflections arriving later are replaced by a diffuse tail, as in hybrid room simulators."""


def _sample_room(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    size = rng.uniform([3.0, 3.0, 2.4], [10.0, 8.0, 4.0])
    source = rng.uniform(0.5, size - 0.5)
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    return {
        "t60_s": between_ratio(0.1, 1.2, strength),
        "distance_m": between_ratio(0.3, 4.0, strength),
        "room_m": size.tolist(),
        "source_m": source.tolist(),
        "direction": direction.tolist(),
    }


def room_response(params: Params, rng: np.random.Generator) -> Float[NDArray[Any], " samples"]:
    """Return a room's impulse response, its direct path at sample 0 with amplitude 1.

    Images of the source (Allen and Berkley 1979) with one reflection coefficient for all
    walls, from Eyring's formula; after 80 ms a decaying noise tail.
    """
    size = np.array(params["room_m"])
    source = np.array(params["source_m"])
    offset = np.array(params["direction"]) * params["distance_m"]
    # A microphone beyond a wall is brought back to 0.3 m inside.
    microphone = np.clip(source + offset, 0.3, size - 0.3)
    if np.linalg.norm(microphone - source) < 0.1:
        microphone = np.clip(source - offset, 0.3, size - 0.3)
    t60_s = params["t60_s"]
    surface = 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    absorption = 1 - np.exp(-0.161 * size.prod() / (t60_s * surface))
    reflection = np.sqrt(1 - absorption)

    axes = []
    for length, origin, target in zip(size, source, microphone, strict=True):
        reach = int(np.ceil(SOUND_SPEED * (IMAGE_SECONDS + 0.03) / (2 * length))) + 1
        order = np.arange(-reach, reach + 1)
        even = 2 * order * length + origin - target
        odd = 2 * order * length - origin - target
        bounces = np.concatenate([np.abs(2 * order), np.abs(2 * order - 1)])
        axes.append((np.concatenate([even, odd]) ** 2, bounces))
    (x, bounces_x), (y, bounces_y), (z, bounces_z) = axes
    distance = np.sqrt(x[:, None, None] + y[None, :, None] + z[None, None, :]).ravel()
    bounces = (bounces_x[:, None, None] + bounces_y[None, :, None] + bounces_z).ravel()
    direct = float(np.linalg.norm(microphone - source))
    delay = (distance - direct) / SOUND_SPEED * SAMPLE_RATE
    num_images = int(IMAGE_SECONDS * SAMPLE_RATE)
    early = delay < num_images - 1
    delay, gain = delay[early], direct / distance[early] * reflection ** bounces[early]
    whole = delay.astype(int)
    part = delay - whole
    response = np.bincount(whole, weights=gain * (1 - part), minlength=num_images + 1)
    response += np.bincount(whole + 1, weights=gain * part, minlength=num_images + 1)
    whole = np.concatenate([response, _tail(response, t60_s, rng)])
    return np.asarray(whole, dtype=np.float32)


def _tail(early: NDArray[Any], t60_s: float, rng: np.random.Generator) -> NDArray[Any]:
    decay = 6.91 / (t60_s * SAMPLE_RATE)
    last = early[len(early) // 2 :]
    # The mean power of the images, brought from the middle of their last half to its end.
    power = np.mean((last - last.mean()) ** 2) * np.exp(-decay * len(last))
    steps = np.arange(int(t60_s * SAMPLE_RATE))
    noise = rng.standard_normal(len(steps))
    return np.asarray(np.sqrt(power) * np.exp(-decay * steps) * noise)


def _apply_room(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    return _convolved(waveform, room_response(params, rng), direct=0)


def _sample_measured(strength: float, rng: np.random.Generator, sources: Sources) -> Params:
    return {
        "response": sources.draw_response(rng),
        "direct_to_reverberant_db": between(25.0, -8.0, strength),
    }


def measured_response(
    response: Float[NDArray[Any], " samples"], direct_to_reverberant_db: float
) -> tuple[Float[NDArray[Any], " kept_samples"], int]:
    """Set a measured response's direct-to-reverberant ratio.

    Returns:
        The response from 2.5 ms before its direct path on, the direct path (the largest sample, and
        2.5 ms around it) positive and of energy 1, and the sample at which the direct path stands.
    """
    direct = int(np.argmax(np.abs(response)))
    around = int(0.0025 * SAMPLE_RATE)
    aligned = response[max(0, direct - around) :].astype(np.float64) * np.sign(response[direct])
    place = min(direct, around)
    late = slice(place + around, None)
    direct_power = np.sum(aligned[: place + around] ** 2)
    late_power = max(np.sum(aligned[late] ** 2), 1e-12)
    aligned[late] *= np.sqrt(direct_power / late_power / 10 ** (direct_to_reverberant_db / 10))
    return (aligned / np.sqrt(direct_power)).astype(np.float32), place


def _apply_measured(
    waveform: Waveform, params: Params, rng: np.random.Generator, sources: Sources
) -> Waveform:
    response = sources.response(params["response"])
    ratio_db = params["direct_to_reverberant_db"]
    aligned, direct = measured_response(response, ratio_db)
    return _convolved(waveform, aligned, direct=direct)


def _convolved(waveform: Waveform, response: Waveform, *, direct: int) -> Waveform:
    num_fft = 1 << (len(waveform) + len(response)).bit_length()
    product = np.fft.rfft(waveform, num_fft) * np.fft.rfft(response, num_fft)
    reverberant = np.fft.irfft(product, num_fft)[direct:][: len(waveform)].astype(np.float32)
    # Images are all positive and pile up below the lowest audible frequencies.
    reverberant = filtered(reverberant, lambda frequency: 1 / (1 + (40 / (frequency + 1e-3)) ** 4))
    return with_level_of(reverberant, waveform)


ROOM = DistortionKind(_sample_room, _apply_room, stage=0)
MEASURED_ROOM = DistortionKind(_sample_measured, _apply_measured, stage=0, material=("response",))
