"""What every encoder promises, whatever is inside it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn


class EncoderOutput(NamedTuple):
    """Hidden states of every layer.

    Attributes:
        hidden_states: Layers in order, the input embedding first.
        lengths: Valid frames of each recording; what lies beyond is padding.
        native_scores: Scores of each recording by the encoder's own head, by metric; none where it
            has no head.
    """

    hidden_states: Float[Tensor, "batch layers frames dim"]
    lengths: Int[Tensor, " batch"]
    native_scores: Mapping[str, Float[Tensor, " batch"]] = MappingProxyType({})


class Encoder(nn.Module):
    """Waveforms at 16 kHz to hidden states.

    A recording's valid frames do not depend on how far its waveform is padded, nor on the other
    recordings of the batch.

    Attributes:
        dim: Size of each hidden state.
        num_layers: Number of hidden states given; with none, the encoder is there for its own heads
            alone, and is no part of the joint features.
        frame_rate: Frames per second.
        min_samples: Shortest recording that can be encoded.
        native_metrics: Metrics that the encoder's own heads predict; none where it has no head. An
            encoder with such metrics takes ``native`` beside the waveform: those that are wanted,
            all when None. Heads without any of them are not run.
        learns_native_scores: Whether that head is trained with the model.
        differentiable: Whether gradient reaches the waveform.
        gradient_note: Why it does not, or empty.
        stored_options: Options written into a saved model in place of the original ones, so that
            it can be built again without external files.
        dropped_parts: Parts that are not built, whose weights a saved model may hold all the same:
            those of an earlier version.
    """

    dim: int
    num_layers: int
    frame_rate: float
    min_samples: int = 1
    native_metrics: tuple[str, ...] = ()
    learns_native_scores: bool = False
    differentiable: bool = True
    gradient_note: str = ""
    stored_options: Mapping[str, Any] = MappingProxyType({})
    dropped_parts: tuple[str, ...] = ()

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> EncoderOutput:
        """Encode recordings.

        Args:
            waveform: 16 kHz, zero beyond each recording's length.
            lengths: Samples of each recording, at least ``min_samples``.
        """
        raise NotImplementedError
