"""Learning what a recording's clean reference was: many numbers per frame, as a metric hears it.

A label that compares with a reference (PESQ, ESTOI, SDR) is one number per recording. What it is
computed from is there in every frame: the spectrum of the reference, and that of what differs from
it. Linear maps from the network's frames predict both; they are thrown away after training.
UrgentMOS has no such objective; what it did here is in recipes/default/experiments.md.
"""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from urgentmos.masks import lengths_to_mask
from urgentmos.metrics import METRICS
from urgentmos.model.encoders import Encoder
from urgentmos.model.encoders.framing import Spectrum, num_frames
from urgentmos.model.encoders.log_mel import mel_filters
from urgentmos.model.fusion import align
from urgentmos.model.level import normalise_rms
from urgentmos.model.network import AssessorNetwork, NetworkOutput
from urgentmos.rates import SAMPLE_RATE
from urgentmos.training.frame_error import mean_frame_error

_BANDS = 40
_WINDOW_SAMPLES = 512
_HOP_SAMPLES = 320
# Of power: speech at the level of `normalise_rms` is near 1, so this is 70 dB below.
_FLOOR = 1e-7
# Mean and spread of the logarithm over simulated recordings, to about one digit.
_LOG_CENTRE, _LOG_WIDTH = -6.0, 4.0


class ReferenceSpectra(nn.Module):
    """Predict the spectra of the reference and of the difference from it.

    Args:
        dim: Size of the network's frames.
        groups: Groups whose frames predict them, beside the joint features.
        frame_rate: Frames per second of the network.
        min_samples: Shorter recordings are left out: the network repeats them.
    """

    filters: Tensor

    def __init__(
        self, dim: int, *, groups: Sequence[str], frame_rate: float, min_samples: int
    ) -> None:
        super().__init__()
        self._min_samples = min_samples
        # Spectra per frame of the network, side by side.
        self._steps = max(1, round(SAMPLE_RATE / _HOP_SAMPLES / frame_rate))
        size = self._steps * 2 * _BANDS
        self.from_features = nn.Linear(dim, size)
        self.from_groups = nn.ModuleDict({name: nn.Linear(dim, size) for name in groups})
        self._spectrum = Spectrum(window_samples=_WINDOW_SAMPLES, hop_samples=_HOP_SAMPLES)
        filters = mel_filters(self._spectrum.num_bins, _BANDS)
        self.register_buffer("filters", filters, persistent=False)

    def forward(
        self,
        output: NetworkOutput,
        waveform: Float[Tensor, "batch samples"],
        reference: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Measure what is not predicted, in about the share of its variance.

        ``mean over frames and bands of ((prediction - spectrum) / spread)^2``, averaged over the
        joint features and the groups; 0 for a batch without a reference.

        Args:
            output: Of the network.
            waveform: The recordings, zero beyond each one's length.
            reference: Their references; a row of zeros is none.
            lengths: Samples of each recording.
        """
        with torch.autocast(waveform.device.type, enabled=False), torch.no_grad():
            spectra = self.spectra(waveform, reference, lengths)
        frame_lengths = output.mask.sum(dim=1)
        num = output.mask.shape[1]
        targets = align(
            spectra,
            num_frames(lengths, _HOP_SAMPLES),
            self._steps * frame_lengths,
            num_frames=self._steps * num,
        ).reshape(len(spectra), num, -1)
        known = reference.any(dim=1) & (lengths >= self._min_samples)
        mask = output.mask & known[:, None]
        errors = [mean_frame_error(self.from_features(output.features), targets, mask)]
        for name, head in self.from_groups.items():
            errors.append(mean_frame_error(head(output.group_frames[name]), targets, mask))
        return torch.stack(errors).mean()

    def spectra(
        self,
        waveform: Float[Tensor, "batch samples"],
        reference: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch frames bands_of_both"]:
        """Give log-mel spectra, standardised: of the reference, then of what differs from it.

        Both signals are brought to one level. What differs is what is left of the recording after
        the reference, filtered by the one complex gain per frequency that leaves least: as in SDR
        (BSS Eval), a filter that does not change is no distortion.
        """
        heard = self._spectrum(normalise_rms(waveform, lengths))
        clean = self._spectrum(normalise_rms(reference, lengths))
        mask = lengths_to_mask(num_frames(lengths, _HOP_SAMPLES), heard.shape[1])[..., None]
        heard, clean = heard * mask, clean * mask
        cross = (heard * clean.conj()).sum(dim=1, keepdim=True)
        power = clean.abs().square().sum(dim=1, keepdim=True)
        difference = heard - clean * (cross / (power + _FLOOR))
        both = torch.cat(
            [part.abs().square() @ self.filters for part in (clean, difference)], dim=2
        )
        return (torch.log(both + _FLOOR) - _LOG_CENTRE) / _LOG_WIDTH


def build_reference_spectra(network: AssessorNetwork, *, dim: int) -> ReferenceSpectra:
    """Make it for a network: the groups of metrics that compare with a reference predict too."""
    groups = [
        name
        for name, metrics in network.group_metrics.items()
        if any(METRICS[metric].needs_reference for metric in metrics)
    ]
    frame_rate = max(cast(Encoder, encoder).frame_rate for encoder in network.encoders)
    return ReferenceSpectra(
        dim, groups=groups, frame_rate=frame_rate, min_samples=network.min_samples
    )
