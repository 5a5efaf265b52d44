"""The four DNSMOS outputs of many recordings at once."""

from math import ceil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from urgentmos.labels import dnsmos as dnsmos_tool

from .dnsmos_networks import read_network, slaney_filters
from .dnsmos_windows import HOP_SAMPLES, Windows, cut_windows
from .waveforms import Batch, Labels, has_sound, in_parts, labelled, stand_in

# As many as keep the largest intermediate tensors near 1 GB.
_FRAMES_AT_ONCE = 24_000
_P835_OUTPUTS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")


class BatchDnsmos:
    """The four DNSMOS outputs of each recording, as `urgentmos.labels.dnsmos`.

    What surrounds the P.835 network's first four layers, which are nearly all of the work, comes
    down to this: windows overlap, and a short recording fills them with copies of itself. Those
    layers see four frames to each side, so that all but the four frames at either edge of a window
    are computed once, for all windows and all copies:

        window      |<- 4 ->|<-------- shared, frames 4 to 895 -------->|<- 4 ->|
        recording   |<------- period ------->|<------- period ------->|<------
    """

    def __init__(
        self, device: torch.device | str, *, folder: Path | None = None, tf32: bool = False
    ) -> None:
        """Read the networks.

        Args:
            device: Where the batches are.
            folder: Folder of the networks (default: that of package ``speechmos``).
            tf32: Let convolutions round what they multiply to 10 bits, where that is faster.
        """
        folder = folder or dnsmos_tool.networks_folder()
        p835, constants = read_network(folder / "sig_bak_ovr.onnx")
        p808, _ = read_network(folder / "model_v8.onnx")
        pooling = next(at for at, layer in enumerate(p835) if isinstance(layer, nn.MaxPool2d))
        # A processor is faster with the channels last (1.4 times, 3 in bfloat16).
        on_processor = torch.device(device).type == "cpu"
        layout = torch.channels_last if on_processor else torch.preserve_format
        self._layers, self._head, self._p808 = (
            each.to(device, memory_format=layout)
            for each in (p835[: pooling + 1], p835[pooling + 1 :], p808)
        )
        self._peaks_at = next(
            at for at, layer in enumerate(self._head) if isinstance(layer, nn.AdaptiveMaxPool2d)
        )
        kernels = [
            constants[f"time2freq/stft-{part}/kernel:0"][..., 0] for part in ("real", "imag")
        ]
        # Double: the floor is 120 dB down, and single-precision products may be rounded to TF32.
        self._kernels = torch.from_numpy(np.concatenate(kernels).T).double().to(device)
        self._mel_filters = torch.from_numpy(slaney_filters()).double().to(device)
        self._tf32 = tf32

    @torch.no_grad()
    def __call__(self, recording: Batch) -> dict[str, Labels]:
        """Compute the outputs of a batch."""
        usable = has_sound(recording)
        recording = torch.where(usable[:, None], recording, stand_in(recording)).clamp(-1.0, 1.0)
        windows = cut_windows(recording.shape[1], recording.device)
        rows = max(1, _FRAMES_AT_ONCE // windows.most_frames)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=self._tf32):
            parts = [self._outputs(part, windows) for (part,) in in_parts(rows, recording)]
        outputs = torch.cat(parts).unbind(1)
        names = dnsmos_tool.Dnsmos.metrics
        return {name: labelled(each, usable) for name, each in zip(names, outputs, strict=True)}

    @torch.no_grad()
    def peaks(self, recording: Batch) -> Float[Tensor, "batch frames 64"]:
        """Give what the P.835 network judges by, once each 80 ms, of each recording as a whole.

        That is the largest output over frequency of each channel of its last convolution; the
        network takes the largest of these over its window.
        """
        spectrum = self._spectrum(nn.functional.pad(recording, (0, HOP_SAMPLES)))
        maps: Tensor = self._head[: self._peaks_at](self._layers(spectrum[:, None]))
        return maps.amax(dim=3).transpose(1, 2)

    @torch.no_grad()
    def judge(self, peaks: Float[Tensor, "batch frames 64"]) -> dict[str, Labels]:
        """Say what the P.835 network makes of such peaks: speech, background, overall."""
        outputs = self._head[self._peaks_at + 1 :](peaks.amax(dim=1)[..., None, None])
        return _as_ratings(dict(zip(_P835_OUTPUTS, outputs.unbind(-1), strict=True)))

    def _outputs(self, recording: Batch, windows: Windows) -> Float[Tensor, "batch outputs"]:
        copies = ceil(windows.samples / recording.shape[1])
        audio = recording.repeat(1, copies)[:, : windows.samples]
        raw = dict(zip(_P835_OUTPUTS, self._p835_outputs(audio, windows).unbind(-1), strict=True))
        scores = {"dnsmos_p808": self._p808_output(audio, windows), **_as_ratings(raw)}
        by_window = torch.stack([scores[name] for name in dnsmos_tool.Dnsmos.metrics], dim=-1)
        return (by_window * windows.weights[:, None]).sum(dim=1)

    def _p835_outputs(self, audio: Batch, windows: Windows) -> Float[Tensor, "batch windows 3"]:
        spectrum = self._spectrum(audio)
        shared = self._layers(spectrum[:, None, : windows.shared_frames])
        inner = shared[:, :, windows.inner_rows].transpose(1, 2)

        edges = self._layers(spectrum[:, windows.edge_frames].flatten(0, 2)[:, None])
        edges = edges.reshape(len(audio), -1, 2, *edges.shape[1:])
        half = edges.shape[-2] // 2  # the other half would see what lies inside
        first, last = edges[:, :, 0, :, :half], edges[:, :, 1, :, half:]
        whole = torch.cat([first, inner, last], dim=-2)
        outputs: Tensor = self._head(whole.flatten(0, 1))
        return outputs.reshape(len(audio), -1, len(_P835_OUTPUTS))

    def _spectrum(self, audio: Batch) -> Float[Tensor, "batch frames bins"]:
        frames = audio.double().unfold(1, 2 * HOP_SAMPLES, HOP_SAMPLES) @ self._kernels
        real, imaginary = frames.chunk(2, dim=-1)
        power = (real.square() + imaginary.square()).clamp(min=1e-12)
        return torch.log10(power).float()

    def _p808_output(self, audio: Batch, windows: Windows) -> Float[Tensor, "batch windows"]:
        size, hop = dnsmos_tool._FFT_SAMPLES, dnsmos_tool._HOP_SAMPLES
        length = dnsmos_tool._WINDOW_SAMPLES - hop
        starts = [frame * HOP_SAMPLES for frame in windows.first_frames]
        segments = torch.stack([audio[:, start : start + length] for start in starts], dim=1)
        padded = nn.functional.pad(segments, (size // 2, size // 2))
        taper = torch.hann_window(size, device=audio.device)
        spectrum = torch.view_as_real(torch.fft.rfft(padded.unfold(-1, size, hop) * taper))
        mel = (spectrum.square().sum(dim=-1).double() @ self._mel_filters).clamp(min=1e-10)
        decibels = 10 * torch.log10(mel / mel.amax(dim=(-1, -2), keepdim=True))
        scaled = ((decibels.clamp(min=-80.0) + 40.0) / 40.0).float()
        outputs: Tensor = self._p808(scaled.flatten(0, 1)[:, None])
        return outputs.reshape(len(audio), -1)


def _as_ratings(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Map the outputs of the P.835 network to the scale of listeners."""
    return {
        name: square * raw[name].square() + slope * raw[name] + offset
        for name, (square, slope, offset) in dnsmos_tool._POLYNOMIALS.items()
    }
