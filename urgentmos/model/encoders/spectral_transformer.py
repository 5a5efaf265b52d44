"""Spectral Transformer: a compressed spectrum, strided convolutions, Transformer layers.

The shape of Distill-MOS's trunk (Stahl and Gamper 2025, https://arxiv.org/abs/2502.05356) at a
fraction of its cost: narrower convolutions that thin out time early, and fewer frames for the
Transformer. Made to be taught by that trunk (``recipes/default/distill.py``); the default model's
takes a thirtieth of its operations.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from urgentmos.config import check_at_least
from urgentmos.masks import lengths_to_mask
from urgentmos.model.encoders.chunking import cut, join, mean_over_chunks
from urgentmos.model.encoders.encoder import Encoder, EncoderOutput
from urgentmos.model.encoders.frame_head import FrameHead, FrameHeadConfig
from urgentmos.model.encoders.framing import Spectrum, average_frames, log_power, num_frames
from urgentmos.model.encoders.masked_convolution import (
    FrequencyMap,
    MaskedConv2dStack,
    as_vectors,
    remaining_bins,
)
from urgentmos.model.encoders.own_head import OwnHead, OwnHeadConfig
from urgentmos.model.encoders.peak_head import PeakHead, PeakHeadConfig
from urgentmos.model.transformer_layer import TransformerLayer
from urgentmos.rates import SAMPLE_RATE

_WINDOW_SAMPLES, _HOP_SAMPLES = 320, 160
_COMPRESSION = 0.3
# Added to the power before it is compressed: keeps the gradient finite on silence. Recordings come
# with a peak of one here.
_FLOOR = 1e-8
_PEAK_FLOOR = 1e-8
# Distill-MOS's positions: one per 20 ms, and sinusoids of 2 pi to nearly 768 * 2 pi of them.
_POSITION_SAMPLES = 320
_LONGEST_WAVE = 768.0


@dataclass
class SpectralTransformerConfig:
    """Options of the spectral Transformer.

    Attributes:
        dim: Size of each hidden state.
        channels: Output channels of each 2-D convolution.
        time_strides: Stride in time of each.
        frequency_strides: Stride in frequency of each.
        layers: Transformer layers. Without any, the encoder gives no hidden states: it is there for
            a head of its own alone, on its convolutions.
        heads: Attention heads; they divide ``dim``.
        feedforward: Inner size of a layer's feed-forward part.
        window_frames: Frames that attend to each other: longer recordings are heard in pieces.
        averaged_frames: Consecutive frames averaged into one in what is given, at most
            ``window_frames``.
        peak_head: A head of its own on one of the convolutions that judges by peaks, or null.
        frame_head: One that judges frame by frame, of other metrics, or null.
    """

    dim: int = 200
    channels: list[int] = field(default_factory=lambda: [32, 64, 96, 128, 192])
    time_strides: list[int] = field(default_factory=lambda: [2, 2, 1, 1, 1])
    frequency_strides: list[int] = field(default_factory=lambda: [4, 2, 2, 2, 2])
    layers: int = 7
    heads: int = 8
    feedforward: int = 400
    window_frames: int = 136
    averaged_frames: int = 1
    peak_head: PeakHeadConfig | None = None
    frame_head: FrameHeadConfig | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(
            self,
            layers=0 if self.own_heads else 1,
            dim=1,
            heads=1,
            feedforward=1,
            window_frames=1,
            averaged_frames=1,
        )
        if self.averaged_frames > self.window_frames:
            raise ValueError(
                f"averaged_frames: expected at most window_frames = {self.window_frames}, got "
                f"{self.averaged_frames}"
            )
        if self.dim % self.heads:
            raise ValueError(f"heads: {self.heads} heads do not divide dim = {self.dim}")
        self._check_own_heads()

    @property
    def own_heads(self) -> dict[str, OwnHeadConfig]:
        """Heads of the encoder's own that there are, by the option that states them."""
        stated = {"peak_head": self.peak_head, "frame_head": self.frame_head}
        return {name: head for name, head in stated.items() if head is not None}

    @property
    def heard(self) -> int:
        """Convolutions that heads of the encoder's own hear, 0 where there is none."""
        return max((head.after for head in self.own_heads.values()), default=0)

    def _check_own_heads(self) -> None:
        predicted: set[str] = set()
        for name, own in self.own_heads.items():
            if not 1 <= own.after <= len(self.channels):
                raise ValueError(
                    f"{name}.after: expected 1 to {len(self.channels)}, the convolutions, got "
                    f"{own.after}"
                )
            if twice := predicted.intersection(own.metrics):
                raise ValueError(f"{name}.metrics: peak_head predicts {min(twice)} already")
            predicted.update(own.metrics)
        if self.layers == 0 and self.heard < len(self.channels):
            raise ValueError(
                f"channels: without layers nothing hears more than {self.heard} convolutions, got "
                f"{len(self.channels)}"
            )


class SpectralTransformerEncoder(Encoder):
    """Hidden states of Transformer layers over a spectrum.

    Recordings are heard in pieces of ``window_frames``, each brought to a peak of one. No frame
    attends to padding, so batch-mates change nothing.
    """

    learns_native_scores = True
    positions: Tensor

    def __init__(
        self,
        *,
        spectrum: Spectrum,
        convolutions: MaskedConv2dStack,
        layers: list[TransformerLayer],
        dim: int,
        window_frames: int,
        averaged_frames: int,
        peak_head: PeakHead | None = None,
        frame_head: FrameHead | None = None,
    ) -> None:
        """Compose the parts."""
        super().__init__()
        self.spectrum = spectrum
        self.convolutions = convolutions
        self.projection = nn.Linear(convolutions.out_features, dim) if layers else None
        self._frame_samples = spectrum.hop_samples * convolutions.time_stride
        positions = frame_positions(window_frames, dim, frame_samples=self._frame_samples)
        self.register_buffer("positions", positions, persistent=False)
        self.layers = nn.ModuleList(layers)
        self.peak_head = peak_head
        self.frame_head = frame_head
        self.native_metrics = tuple(name for head in self._own_heads() for name in head.heads)
        self.dim = dim
        self.num_layers = len(layers) + 1 if layers else 0
        self.averaged_frames = averaged_frames
        self.frame_rate = SAMPLE_RATE / (self._frame_samples * averaged_frames)

    def forward(
        self,
        waveform: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
        *,
        native: Collection[str] | None = None,
    ) -> EncoderOutput:
        """Encode recordings; ``ceil`` of samples by hop and strides, before frames are averaged."""
        frame_lengths = num_frames(lengths, self._frame_samples)
        window_frames = len(self.positions)
        pieces = cut(
            waveform[:, : int(lengths.max())],
            lengths,
            chunk_samples=window_frames * self._frame_samples,
            frame_samples=self._frame_samples,
        )
        states, scores = self._encode_pieces(
            pieces.waveform, pieces.lengths, own_heads=self._own_heads(native)
        )
        hidden = join(states, pieces, frame_lengths, chunk_frames=window_frames)
        means = {name: mean_over_chunks(score, pieces) for name, score in scores.items()}
        return average_frames(EncoderOutput(hidden, frame_lengths, means), self.averaged_frames)

    def _encode_pieces(
        self,
        waveform: Float[Tensor, "pieces samples"],
        lengths: Int[Tensor, " pieces"],
        *,
        own_heads: Collection[OwnHead],
    ) -> tuple[Float[Tensor, "pieces layers frames dim"], dict[str, Float[Tensor, " pieces"]]]:
        """Give what the first layer sees, and what every layer gives, of up to one window each.

        And what heads of the encoder's own say of each.
        """
        scores: dict[str, Tensor] = {}
        if self.projection is None and not own_heads:
            return self._no_states(waveform), scores
        for number, convolved in enumerate(self.maps(waveform, lengths), start=1):
            for head in own_heads:
                if number == head.after:
                    scores.update(head(convolved))
        if self.projection is None:
            return self._no_states(waveform), scores
        features, frame_lengths = as_vectors(convolved.features), convolved.lengths
        frames = features.shape[1]
        mask = lengths_to_mask(frame_lengths, frames)
        padding = None if bool(mask.all()) else ~mask
        states = [self.projection(features) + self.positions[:frames]]
        for layer in self.layers:
            states.append(layer(states[-1], src_key_padding_mask=padding))
        return torch.stack(states, dim=1), scores

    def _no_states(
        self, waveform: Float[Tensor, "pieces samples"]
    ) -> Float[Tensor, "pieces 0 frames dim"]:
        frames = -(-waveform.shape[1] // self._frame_samples)
        return waveform.new_zeros(len(waveform), 0, frames, self.dim)

    def _own_heads(self, metrics: Collection[str] | None = None) -> list[OwnHead]:
        """List the heads that predict any of some metrics, or all of them."""
        heads = [head for head in (self.peak_head, self.frame_head) if head is not None]
        return [
            head for head in heads if metrics is None or any(name in head.heads for name in metrics)
        ]

    def maps(
        self, waveform: Float[Tensor, "pieces samples"], lengths: Int[Tensor, " pieces"]
    ) -> Iterator[FrequencyMap]:
        """Give what every convolution gives, of up to one window each."""
        peak = waveform.abs().amax(dim=1, keepdim=True)
        spectrum = self.spectrum(waveform / (peak + _PEAK_FLOOR))
        return self.convolutions.maps(
            compress_with_magnitude(spectrum), num_frames(lengths, self.spectrum.hop_samples)
        )


def frame_positions(
    num_frames: int, dim: int, *, frame_samples: int
) -> Float[Tensor, "num_frames dim"]:
    """Say where each frame is: sine and cosine in turn of its place, at ``dim / 2`` wavelengths.

    Frames longer than a position get the mean over the positions in them, which is what the mean
    of a teacher's frames holds.
    """
    per_frame = max(1, frame_samples // _POSITION_SAMPLES)
    steps = torch.arange(num_frames * per_frame) * (frame_samples / per_frame / _POSITION_SAMPLES)
    rates = _LONGEST_WAVE ** (-torch.arange(0, dim, 2) / dim)
    angles = steps[:, None] * rates
    waves = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :dim]
    return waves.reshape(num_frames, per_frame, dim).mean(dim=1)


def compress_with_magnitude(
    spectrum: Complex[Tensor, "batch frames bins"],
) -> Float[Tensor, "batch 3 frames bins"]:
    """Raise the magnitude to the power 0.3: real part, imaginary part, and magnitude.

    Narrow convolutions would spend their channels on finding the magnitude.
    """
    level = log_power(spectrum, floor=_FLOOR)
    gain = torch.exp((_COMPRESSION - 1) / 2 * level)
    magnitude = torch.exp(_COMPRESSION / 2 * level)
    # Plane by plane: the first convolution brings three channels to channels last in a third of the
    # time that it takes to interleave them here.
    return torch.stack((spectrum.real * gain, spectrum.imag * gain, magnitude), dim=1)


def build_spectral_transformer(config: SpectralTransformerConfig) -> SpectralTransformerEncoder:
    """Make the encoder from its options."""
    spectrum = Spectrum(window_samples=_WINDOW_SAMPLES, hop_samples=_HOP_SAMPLES)
    peak, frame = config.peak_head, config.frame_head
    return SpectralTransformerEncoder(
        spectrum=spectrum,
        convolutions=MaskedConv2dStack(
            in_channels=3,
            in_bins=spectrum.num_bins,
            channels=config.channels,
            time_strides=config.time_strides,
            frequency_strides=config.frequency_strides,
        ),
        layers=[
            TransformerLayer(
                config.dim, config.heads, config.feedforward, dropout=0.0, batch_first=True
            )
            for _ in range(config.layers)
        ],
        dim=config.dim,
        window_frames=config.window_frames,
        averaged_frames=config.averaged_frames,
        peak_head=None if peak is None else PeakHead(config.channels[peak.after - 1], peak),
        frame_head=None
        if frame is None
        else FrameHead(
            config.channels[frame.after - 1],
            remaining_bins(spectrum.num_bins, config.frequency_strides[: frame.after]),
            frame,
        ),
    )
