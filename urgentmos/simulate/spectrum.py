"""Short-time spectra and zero-phase filters, in numpy alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from urgentmos.ndarray import NDArray
from urgentmos.simulate.distortion import SAMPLE_RATE, Waveform

Spectrogram = Complex[NDArray[Any], "frames bins"]


def stft(waveform: Waveform, *, window_samples: int, hop_samples: int) -> Spectrogram:
    """Return the spectrogram with square-root Hann windows; frame k ends at sample k * hop."""
    padded = np.pad(waveform, (window_samples, window_samples + hop_samples))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[::hop_samples]
    return np.fft.rfft(frames * _window(window_samples), axis=1).astype(np.complex64)


def istft(
    spectrogram: Spectrogram, *, window_samples: int, hop_samples: int, num_samples: int
) -> Waveform:
    """Overlap-add a spectrogram of ``stft`` back to a waveform of the given length."""
    window = _window(window_samples)
    frames = np.fft.irfft(spectrogram, n=window_samples, axis=1).astype(np.float32) * window
    overlap = window_samples // hop_samples
    num_hops = len(frames) + overlap - 1
    total = np.zeros((num_hops, hop_samples), dtype=np.float32)
    blocks = frames.reshape(len(frames), overlap, hop_samples)
    for position in range(overlap):
        total[position : position + len(frames)] += blocks[:, position]
    # Hann windows at these hops add up to a constant.
    gain = np.square(window).sum() / hop_samples
    waveform = total.reshape(-1)[window_samples:][:num_samples] / gain
    return np.asarray(waveform, dtype=np.float32)


def filtered(waveform: Waveform, gain: Callable[[NDArray[Any]], NDArray[Any]]) -> Waveform:
    """Filter without delay: multiply the spectrum by a real gain.

    Args:
        waveform: Any length above 0.
        gain: Frequencies in Hz → amplitude gain.
    """
    num_fft = 1 << (len(waveform) + 4096).bit_length()
    spectrum = np.fft.rfft(waveform, n=num_fft)
    spectrum *= gain(np.fft.rfftfreq(num_fft, 1 / SAMPLE_RATE))
    return np.fft.irfft(spectrum, n=num_fft)[: len(waveform)].astype(np.float32)


def mel_filters(num_bands: int, *, num_bins: int) -> Float[NDArray[Any], "bands bins"]:
    """Return triangular filters, equally spaced on the mel scale from 0 Hz to 8 kHz."""
    top = _mel(np.array(SAMPLE_RATE / 2))
    edges = 700 * (10 ** (np.linspace(0, top, num_bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, SAMPLE_RATE / 2, num_bins)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)), dtype=np.float32)


def _mel(frequency_hz: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(2595 * np.log10(1 + frequency_hz / 700))


def _window(window_samples: int) -> Float[NDArray[Any], " samples"]:
    phase = np.arange(window_samples) / window_samples
    return np.asarray(np.sin(np.pi * phase), dtype=np.float32)
