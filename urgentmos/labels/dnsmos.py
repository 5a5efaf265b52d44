"""DNSMOS: overall, speech, background (P.835) and P.808 estimates, without a reference.

Runs the ONNX graphs that package ``speechmos`` carries, as its ``dnsmos.run`` does (Reddy et al.
2021, 2022), on one thread.
"""

import warnings
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from urgentmos.extras import MissingExtraError, require
from urgentmos.labels.labeller import (
    INSTALL,
    SAMPLE_RATE,
    Waveform,
    package_version,
    require_sound,
)
from urgentmos.ndarray import NDArray

WINDOW_S = 9.01
_WINDOW_SAMPLES = int(WINDOW_S * SAMPLE_RATE)
_FFT_SAMPLES = 321
_HOP_SAMPLES = 160
_NUM_MELS = 120
# From the network's output to MOS, highest power first; speechmos, dnsmos.py.
_POLYNOMIALS = {
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
    "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


class DnsmosP808:
    """DNSMOS P.808 alone: about a fifteenth of the cost of all four."""

    metrics: tuple[str, ...] = ("dnsmos_p808",)

    def __init__(self) -> None:
        """State the version."""
        self.version = f"{package_version('speechmos')}, clipped to [-1, 1]"

    def label(self, recording: Waveform, reference: Waveform | None = None) -> dict[str, float]:
        """Compute DNSMOS of one recording; the reference is not used.

        Samples beyond ±1, which `speechmos` refuses, are clipped as any converter would.

        Raises:
            LabelError: The recording is silent.
        """
        require_sound(recording)
        windows = cut_windows(np.clip(recording, -1.0, 1.0))
        # Windows repeat where a short recording is repeated; each is scored once.
        scores = {start: self._score(window) for start, window in dict(windows).items()}
        return {
            name: float(np.mean([scores[start][name] for start, _ in windows]))
            for name in self.metrics
        }

    def _score(self, window: Waveform) -> dict[str, float]:
        features = self._melspectrogram(window[:-_HOP_SAMPLES])
        (output,) = self._p808.run(None, {"input_1": features[None]})
        return {"dnsmos_p808": float(output[0, 0])}

    def _melspectrogram(self, segment: Waveform) -> Float32[NDArray[np.float32], "frames mels"]:
        mel = np.maximum(1e-10, _power_spectrum(segment) @ self._filterbank)
        decibels = 10.0 * np.log10(mel / mel.max())
        scaled = (np.maximum(decibels, decibels.max() - 80.0) + 40.0) / 40.0
        return np.asarray(scaled, dtype=np.float32)

    @cached_property
    def _filterbank(self) -> Float32[NDArray[np.float32], "bins mels"]:
        librosa = require("librosa", extra="labels")
        with warnings.catch_warnings():
            # 120 filters on 161 bins: some of the lowest are empty, as in speechmos.
            warnings.simplefilter("ignore", UserWarning)
            filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=_FFT_SAMPLES, n_mels=_NUM_MELS)
        return np.ascontiguousarray(filters.T)

    @cached_property
    def _p808(self) -> Any:
        return _session("model_v8.onnx")


class Dnsmos(DnsmosP808):
    """All four DNSMOS outputs."""

    metrics = ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808")

    def _score(self, window: Waveform) -> dict[str, float]:
        ((outputs,),) = self._p835.run(None, {"input_1": window[None]})
        scores = super()._score(window)
        for (name, polynomial), output in zip(_POLYNOMIALS.items(), outputs, strict=True):
            scores[name] = float(np.polyval(polynomial, output))
        return scores

    @cached_property
    def _p835(self) -> Any:
        return _session("sig_bak_ovr.onnx")


def cut_windows(recording: Waveform) -> list[tuple[int, Waveform]]:
    """Cut a recording into the windows that `speechmos` averages over.

    A recording under 9.01 s is first doubled until it is that long. Windows start every second; the
    last ones may be missing, as in ``speechmos``, whose count is
    ``int(floor(seconds) - 9.01) + 1`` (so 4.6 s, doubled to 9.2, is one window, and 4.5 s, doubled
    to 18, is nine).

    Returns:
        Start within the recording (samples) and the window itself.
    """
    period = len(recording)
    audio = recording
    while len(audio) < _WINDOW_SAMPLES:
        audio = np.concatenate((audio, audio))
    num_windows = int(np.floor(len(audio) / SAMPLE_RATE) - WINDOW_S) + 1
    windows = []
    for index in range(num_windows):
        start = index * SAMPLE_RATE
        # The end is rounded as speechmos rounds it: a window one sample short is left out.
        window = audio[start : int((index + WINDOW_S) * SAMPLE_RATE)]
        if len(window) >= _WINDOW_SAMPLES:
            windows.append((start % period, window))
    return windows


def _power_spectrum(segment: Waveform) -> Float32[NDArray[np.float32], "frames bins"]:
    padded = np.pad(segment, _FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[::_HOP_SAMPLES]
    window = np.hanning(_FFT_SAMPLES + 1)[:-1].astype(np.float32)
    magnitude = np.abs(np.fft.rfft(frames * window, axis=1))
    return np.asarray(magnitude, dtype=np.float32) ** 2


def networks_folder() -> Path:
    """Find the folder of the networks in package ``speechmos``.

    Raises:
        MissingExtraError: It is not installed.
    """
    spec = find_spec("speechmos")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "speechmos carries the DNSMOS networks and is not installed; "
            f"install it with: {INSTALL}"
        )
    return Path(spec.origin).parent / "dnsmos_models"


def _session(file_name: str) -> Any:
    onnxruntime = require("onnxruntime", extra="labels")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    path = networks_folder() / file_name
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
