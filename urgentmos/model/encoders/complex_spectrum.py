"""Complex-spectrum encoder: a short window with its phase, many frames per second."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from urgentmos.config import check_at_least, check_odd
from urgentmos.model.encoders.encoder import Encoder, EncoderOutput
from urgentmos.model.encoders.framing import Spectrum, log_power, num_frames, spectrum_of
from urgentmos.model.encoders.masked_convolution import BlockStack, ConvolutionStem
from urgentmos.rates import SAMPLE_RATE

# Added to the power before it is compressed: keeps the gradient finite on silence.
_FLOOR = 1e-8
_COMPRESSION = 0.3


@dataclass
class ComplexSpectrumConfig:
    """Options of the complex-spectrum encoder.

    Attributes:
        dim: Size of each hidden state.
        window_ms: Length of the Hann window and of the transform.
        hop_ms: Time between frames before the convolutions.
        channels: Output channels of each 2-D convolution.
        time_strides: Stride in time of each.
        frequency_strides: Stride in frequency of each.
        blocks: Residual blocks after the stem.
        block_kernel: Frames each block sees.
        expansion: Inner size of a block over ``dim``.
    """

    dim: int = 192
    window_ms: float = 20.0
    hop_ms: float = 10.0
    channels: list[int] = field(default_factory=lambda: [48, 64, 96, 96])
    time_strides: list[int] = field(default_factory=lambda: [3, 2, 1, 1])
    frequency_strides: list[int] = field(default_factory=lambda: [4, 2, 2, 2])
    blocks: int = 4
    block_kernel: int = 7
    expansion: int = 4

    def __post_init__(self) -> None:
        """Check the ranges; parts check what they are made of."""
        check_at_least(self, dim=1, blocks=0, block_kernel=1, expansion=1)
        check_odd(self, "block_kernel")


class ComplexSpectrumEncoder(Encoder):
    """Compressed complex spectrum, convolution stem, residual blocks."""

    def __init__(
        self,
        *,
        spectrum: Spectrum,
        stem: ConvolutionStem,
        blocks: BlockStack,
        time_stride: int,
    ) -> None:
        """Compose the parts; ``time_stride`` is the stem's stride over all its layers."""
        super().__init__()
        self.spectrum = spectrum
        self.stem = stem
        self.blocks = blocks
        self.dim = stem.projection.out_features
        self.num_layers = len(blocks.blocks) + 1
        self.frame_rate = SAMPLE_RATE / (spectrum.hop_samples * time_stride)

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings; ``ceil(samples / hop)`` frames, then ``ceil`` by each stride."""
        frame_lengths = num_frames(lengths, self.spectrum.hop_samples)
        compressed = compress(self.spectrum(waveform))
        features, frame_lengths = self.stem(compressed, frame_lengths)
        return EncoderOutput(self.blocks(features, frame_lengths), frame_lengths)


def compress(
    spectrum: Complex[Tensor, "batch frames bins"],
) -> Float[Tensor, "batch 2 frames bins"]:
    """Raise the magnitude to the power 0.3 and keep the phase; real and imaginary part."""
    gain = torch.exp((_COMPRESSION - 1) / 2 * log_power(spectrum, floor=_FLOOR))
    # Channels last, as the convolutions want them.
    return torch.view_as_real(spectrum * gain).permute(0, 3, 1, 2)


def build_complex_spectrum(config: ComplexSpectrumConfig) -> ComplexSpectrumEncoder:
    """Make the encoder from its options."""
    spectrum = spectrum_of(window_ms=config.window_ms, hop_ms=config.hop_ms)
    return ComplexSpectrumEncoder(
        spectrum=spectrum,
        stem=ConvolutionStem(
            in_channels=2,
            in_bins=spectrum.num_bins,
            channels=config.channels,
            time_strides=config.time_strides,
            frequency_strides=config.frequency_strides,
            dim=config.dim,
        ),
        blocks=BlockStack(
            config.dim,
            num_blocks=config.blocks,
            kernel=config.block_kernel,
            expansion=config.expansion,
        ),
        time_stride=math.prod(config.time_strides),
    )
