"""Log-mel encoder: a long window, many bands, few frames per second."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from urgentmos.config import check_at_least, check_odd
from urgentmos.model.encoders.encoder import Encoder, EncoderOutput
from urgentmos.model.encoders.framing import Spectrum, num_frames, spectrum_of
from urgentmos.model.encoders.masked_convolution import BlockStack, ConvolutionStem
from urgentmos.rates import SAMPLE_RATE

# Power floor: speech at -26 dB re full scale lies near 1 per band, so this is about 80 dB below.
_FLOOR = 1e-8
# Mean and half-range of the log of speech at that level, so that the stem sees about [-2, 2].
_LOG_CENTRE, _LOG_WIDTH = -6.0, 5.0


@dataclass
class LogMelConfig:
    """Options of the log-mel encoder.

    Attributes:
        dim: Size of each hidden state.
        bands: Mel bands up to 8 kHz.
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
    bands: int = 80
    window_ms: float = 64.0
    hop_ms: float = 20.0
    channels: list[int] = field(default_factory=lambda: [32, 48, 64, 96])
    time_strides: list[int] = field(default_factory=lambda: [1, 2, 2, 1])
    frequency_strides: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    blocks: int = 4
    block_kernel: int = 7
    expansion: int = 4

    def __post_init__(self) -> None:
        """Check the ranges; parts check what they are made of."""
        check_at_least(self, dim=1, bands=1, blocks=0, block_kernel=1, expansion=1)
        check_odd(self, "block_kernel")


class LogMelEncoder(Encoder):
    """Log-mel spectrogram, convolution stem, residual blocks."""

    mel_filters: Tensor

    def __init__(
        self,
        *,
        spectrum: Spectrum,
        bands: int,
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
        self.register_buffer("mel_filters", mel_filters(spectrum.num_bins, bands), persistent=False)

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings; ``ceil(samples / hop)`` frames, then ``ceil`` by each stride."""
        spectrum = self.spectrum(waveform)
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel = (torch.log(power @ self.mel_filters + _FLOOR) - _LOG_CENTRE) / _LOG_WIDTH
        frame_lengths = num_frames(lengths, self.spectrum.hop_samples)
        features, frame_lengths = self.stem(log_mel[:, None], frame_lengths)
        return EncoderOutput(self.blocks(features, frame_lengths), frame_lengths)


def mel_filters(num_bins: int, bands: int) -> Float[Tensor, "bins bands"]:
    """Triangular filters, equally spaced on the mel scale 2595·log10(1 + f/700) up to 8 kHz.

    Each filter sums to one, so that a band's power does not grow with its width.

    Raises:
        ValueError: A band is narrower than the spacing of the bins.
    """
    nyquist = SAMPLE_RATE / 2
    top = 2595 * math.log10(1 + nyquist / 700)
    mels = torch.linspace(0, top, bands + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequencies = torch.linspace(0, nyquist, num_bins, dtype=torch.float64)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0.0)
    weight = filters.sum(dim=0)
    if bool((weight == 0).any()):
        raise ValueError(
            f"{bands} mel bands are too many for {num_bins} frequency bins: "
            "use fewer bands or a longer window"
        )
    return (filters / weight).to(torch.get_default_dtype())


def build_log_mel(config: LogMelConfig) -> LogMelEncoder:
    """Make the encoder from its options."""
    return LogMelEncoder(
        spectrum=spectrum_of(window_ms=config.window_ms, hop_ms=config.hop_ms),
        bands=config.bands,
        stem=ConvolutionStem(
            in_channels=1,
            in_bins=config.bands,
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
