"""Test-time augmentation: a recording heard a second time, in a version nobody can tell from it.

An encoder of spectra with their phase gives other hidden states for the same sound with opposite
polarity, or cut into frames elsewhere. What differs is error, and the mean of both has less of it.
"""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from urgentmos.masks import lengths_to_mask
from urgentmos.model.encoders.encoder import EncoderOutput

# Half of the 10 ms by which most encoders move from frame to frame, at 16 kHz.
_DELAY_SAMPLES = 80


def inaudible_twin(
    waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch samples"]:
    """Turn the polarity and delay by 5 ms, of which the last do not come any more."""
    delayed = functional.pad(-waveform, (_DELAY_SAMPLES, 0))[:, : waveform.shape[1]]
    return delayed.masked_fill(~lengths_to_mask(lengths, waveform.shape[1]), 0.0)


def mean_output(a: EncoderOutput, b: EncoderOutput) -> EncoderOutput:
    """Average what an encoder gave for two versions of the same recordings."""
    scores = {
        metric: (score + b.native_scores[metric]) / 2
        for metric, score in a.native_scores.items()
        if metric in b.native_scores
    }
    return EncoderOutput((a.hidden_states + b.hidden_states) / 2, a.lengths, scores)
