"""The trunk of Distill-MOS: the pretrained speech encoder that needs no download.

Distilled from a predictor on XLS-R, 4.1 M parameters, by Stahl and Gamper 2025
(https://arxiv.org/abs/2502.05356); definition and weights: package ``distillmos``, MIT.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from urgentmos.model.encoders.chunking import cut, join, mean_over_chunks
from urgentmos.model.encoders.distill_mos_head import DistillMosHead
from urgentmos.model.encoders.distill_mos_weights import (
    find_package_weights,
    load_package_weights,
    trunk_weights,
)
from urgentmos.model.encoders.encoder import EncoderOutput
from urgentmos.model.encoders.framing import average_frames, num_frames
from urgentmos.model.encoders.pretrained import PretrainedConfig, PretrainedEncoder
from urgentmos.rates import SAMPLE_RATE

_DIM, _HEADS, _FEEDFORWARD, _LAYERS = 200, 8, 400, 7
_CHANNELS = (64, 64, 128, 256, 256, 256)
_FFT_SAMPLES, _HOP_SAMPLES = 320, 160
_COLUMN_SAMPLES = 2 * _HOP_SAMPLES
_COLUMNS = 384
_WINDOW_SAMPLES = _COLUMNS * _COLUMN_SAMPLES
# Column j sees spectral frames 2j - 6 to 2j + 6: three columns to either side, one to spare.
_MARGIN = 4
# The compression's slope grows without bound towards silence. Below this power (-140 dB re full
# scale) values stay exact, and the slope is that of a compression with this floor. A higher floor
# gives wrong gradients for speech: 12 % off at -100 dB.
_SLOPE_FLOOR = 1e-14


@dataclass
class DistillMosConfig(PretrainedConfig):
    """Options of the Distill-MOS trunk.

    Attributes:
        averaged_frames: Consecutive frames (20 ms each) averaged into one, at most a window's 384.
        digest: SHA-256 of the package's weights file that a saved model was trained with; the
            installed one must have it.
    """

    averaged_frames: int = 1
    digest: str | None = None

    def __post_init__(self) -> None:
        """Check the range."""
        if not 1 <= self.averaged_frames <= _COLUMNS:
            raise ValueError(
                f"averaged_frames: expected 1 to {_COLUMNS}, got {self.averaged_frames}"
            )


class DistillMosTrunk(nn.Module):
    """Compressed spectrum, convolutions and Transformer layers, one window at a time."""

    positions: Tensor
    window: Tensor

    def __init__(self) -> None:
        """Make the parts, untrained."""
        super().__init__()
        self.convolutions = _convolutions()
        # A tenth faster on a processor, and what a GPU wants.
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # In place of two batch norms and a linear layer of the package: no batch ever changes it.
        self.projection = nn.Linear(4 * _CHANNELS[-1], _DIM)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(_DIM, _HEADS, _FEEDFORWARD, dropout=0.0, batch_first=True)
            for _ in range(_LAYERS)
        )
        self.register_buffer("positions", torch.zeros(_COLUMNS, _DIM))
        self.register_buffer("window", torch.hann_window(_FFT_SAMPLES), persistent=False)

    def embed(self, windows: Float[Tensor, "windows samples"]) -> Float[Tensor, "windows 384 200"]:
        """Give what the first Transformer layer sees.

        The package pads a window with zeros to 7.68 s. The convolutions give one and the same
        column over those zeros, except near the sound and near the window's end, so it is
        computed once::

            samples    | sound .......... | zeros ................................ |
            columns    | computed .. | margin  c | copies of c | margin, computed  |

        Args:
            windows: Up to 7.68 s each.
        """
        samples = windows.shape[1]
        columns = min(_COLUMNS, -(-samples // _COLUMN_SAMPLES) + 1 + 2 * _MARGIN)
        padded = functional.pad(windows, (0, columns * _COLUMN_SAMPLES - samples))
        spectrum = _compress(self._spectrum(_normalise_peak(padded)))
        features = self.convolutions(spectrum.contiguous(memory_format=torch.channels_last))
        embedded: Tensor = self.projection(features.flatten(1, 2).transpose(1, 2))
        silent = columns - _MARGIN - 1
        copies = embedded[:, silent : silent + 1].expand(-1, _COLUMNS - columns, -1)
        return (
            torch.cat((embedded[:, :silent], copies, embedded[:, silent:]), dim=1) + self.positions
        )

    def _spectrum(
        self, windows: Float[Tensor, "windows samples"]
    ) -> Float[Tensor, "windows 2 bins frames"]:
        overlap = (_FFT_SAMPLES - _HOP_SAMPLES) // 2
        padded = functional.pad(windows, (overlap, overlap), mode="reflect")
        framed = padded.unfold(1, _FFT_SAMPLES, _HOP_SAMPLES) * self.window
        return torch.view_as_real(torch.fft.rfft(framed)).permute(0, 3, 2, 1)


class DistillMosEncoder(PretrainedEncoder):
    """Hidden states of the Distill-MOS trunk at 50 Hz, or means of a few frames at a lower rate.

    Its native score is that of Distill-MOS itself.

    Recordings are heard in windows of 7.68 s, each brought to a peak of one, as the package does;
    a shorter one is followed by silence, of which no frame is given. Frames attend to that
    silence, always the same amount of it, so padding and batch-mates change nothing.
    """

    dim = _DIM
    num_layers = _LAYERS + 1
    native_metrics = ("distill_mos",)
    tower: DistillMosTrunk

    def __init__(self, trunk: DistillMosTrunk, *, config: DistillMosConfig) -> None:
        """Wrap a trunk."""
        super().__init__(trunk, list(trunk.layers), config=config)
        self.averaged_frames = config.averaged_frames
        self.head = DistillMosHead()
        self.frame_rate = SAMPLE_RATE / (_COLUMN_SAMPLES * config.averaged_frames)

    def forward(
        self,
        waveform: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        *,
        native: Collection[str] | None = None,
    ) -> EncoderOutput:
        """Encode recordings; ``ceil(samples / 320)`` frames before they are averaged."""
        frame_lengths = num_frames(lengths, _COLUMN_SAMPLES)
        chunks = cut(
            waveform[:, : int(lengths.max())],
            lengths,
            chunk_samples=_WINDOW_SAMPLES,
            frame_samples=_COLUMN_SAMPLES,
        )
        embedded = self.recompute(self.tower.embed, chunks.waveform)
        frames = -(-chunks.waveform.shape[1] // _COLUMN_SAMPLES)
        states = self.run_layers(self.tower.layers, embedded)
        hidden_states = join(
            torch.stack([state[:, :frames] for state in states], dim=1),
            chunks,
            frame_lengths,
            chunk_frames=_COLUMNS,
        )
        scores = {}
        if native is None or "distill_mos" in native:
            # As the package does (of more windows).
            scores["distill_mos"] = mean_over_chunks(self.head(states[-1]), chunks)
        output = EncoderOutput(hidden_states, frame_lengths, scores)
        return average_frames(output, self.averaged_frames)


def build_distill_mos(config: DistillMosConfig) -> DistillMosEncoder:
    """Make the encoder with the installed package's weights.

    While it is frozen those weights are not stored with a model: they are read again from the
    package, whose file must then be the same.

    Raises:
        MissingExtraError: ``distillmos`` is not installed.
        ValueError: Its weights are not those that a saved model was trained with.
    """
    encoder = DistillMosEncoder(DistillMosTrunk(), config=config)
    if not config.pretrained:
        return encoder
    path = find_package_weights()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if config.digest not in (None, digest):
        raise ValueError(
            f"digest: the model was trained on weights of distillmos with SHA-256 {config.digest}, "
            f"and {path} has {digest}; install the version of distillmos it was trained with"
        )
    stored = load_package_weights()
    encoder.tower.load_state_dict(trunk_weights(stored), strict=True)
    encoder.head.load_package(stored)
    if encoder.frozen:
        encoder.stored_options = {"digest": digest}
        encoder.register_state_dict_post_hook(_leave_out_of_state)  # type: ignore[no-untyped-call]
        encoder.register_load_state_dict_pre_hook(_keep_own)  # type: ignore[no-untyped-call]
    else:
        encoder.stored_options = {"pretrained": False}
    return encoder


def _convolutions() -> nn.Sequential:
    layers: list[nn.Module] = []
    in_channels = 2
    for index, channels in enumerate(_CHANNELS):
        stride = (1 if index == 0 else 2, 2 if index == len(_CHANNELS) - 1 else 1)
        layers += [
            nn.Conv2d(in_channels, channels, 3, stride=stride, padding=(0, 1)),
            nn.LeakyReLU(0.1),
        ]
        in_channels = channels
    return nn.Sequential(*layers)


def _normalise_peak(windows: Float[Tensor, "windows samples"]) -> Float[Tensor, "windows samples"]:
    return windows / (windows.abs().amax(dim=1, keepdim=True) + 1e-8)


def _compress(
    spectrum: Float[Tensor, "windows 2 bins frames"],
) -> Float[Tensor, "windows 2 bins frames"]:
    """Raise the magnitude to the power 0.3 and keep the phase."""
    power = spectrum.square().sum(dim=1, keepdim=True)
    exact = spectrum * power.clamp_min(1e-24) ** -0.35
    if not exact.requires_grad:
        return exact
    smooth = spectrum * (power + _SLOPE_FLOOR) ** -0.35
    return smooth + (exact - smooth).detach()


_PACKAGE_PARTS = ("tower", "head")


# Functions of the module, which know an encoder by what they are given: it can be pickled, and its
# copies keep their own weights.
def _leave_out_of_state(
    _: nn.Module, state: dict[str, Any], prefix: str, __: dict[str, Any]
) -> None:
    begins = tuple(f"{prefix}{part}." for part in _PACKAGE_PARTS)
    for name in [name for name in state if name.startswith(begins)]:
        del state[name]


def _keep_own(encoder: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for part in _PACKAGE_PARTS:
        for name, tensor in encoder.get_submodule(part).state_dict().items():
            state[f"{prefix}{part}.{name}"] = tensor
