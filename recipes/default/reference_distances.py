"""How far each 80 ms of a recording are from its clean reference."""

import torch
from jaxtyping import Float
from torch import Tensor

from urgentmos.labels import lsd
from urgentmos.labels.scaling import scale_to_reference
from urgentmos.model.encoders.log_mel import mel_filters
from urgentmos.silence import sounding_bounds

BANDS, CEPSTRA = 32, 13
STEPS = 5  # of 16 ms, in 80 ms
FLOOR = 1e-5  # of the reference's mean power
NUMBERS = 2 * BANDS + 4


def reference_distances(
    recording: Float[Tensor, " samples"], reference: Float[Tensor, " samples"]
) -> Float[Tensor, "frames numbers"]:
    """Measure a recording, scaled to its reference, without the digital silence at its edges.

    Of each frame: the difference of the logarithms of both spectra in 32 mel bands, its size, the
    log-spectral distance (as `urgentmos.labels.lsd`), the cepstral distance, and the logarithms of
    the power of the reference, and of the whole recording, to that of what differs from it.

    Args:
        recording: At 16 kHz.
        reference: Aligned; what either has longer is left out.
    """
    samples = min(len(recording), len(reference))
    recording, reference = recording[:samples], reference[:samples]
    scaled = torch.from_numpy(scale_to_reference(recording.numpy(), reference.numpy()))
    heard = slice(*map(int, sounding_bounds(recording[None], torch.tensor([samples]))))
    scaled, clean = scaled[heard].float(), reference[heard]
    ours, theirs, apart = (_spectrum(each) for each in (scaled, clean, scaled - clean))
    log_ratio = torch.log(theirs.square() / (ours + lsd._EPSILON).square() + lsd._EPSILON)
    log_spectral = log_ratio.square().mean(dim=1, keepdim=True).sqrt()
    level = reference.square().mean() * _window().square().sum()
    floor = FLOOR * level + torch.finfo(torch.float32).tiny
    filters = mel_filters(ours.shape[1], BANDS)
    in_bands = [torch.log(each.square() @ filters + floor) for each in (ours, theirs)]
    difference = in_bands[0] - in_bands[1]
    cepstral = (difference @ _cosines()).norm(dim=1, keepdim=True)
    power, of_difference = (
        torch.log(each.square().mean(dim=1, keepdim=True) + floor) for each in (theirs, apart)
    )
    numbers = torch.cat(
        (
            difference,
            difference.abs(),
            log_spectral,
            cepstral,
            power - of_difference,
            torch.log(level + floor) - of_difference,
        ),
        dim=1,
    )
    frames = len(numbers) // STEPS
    return numbers[: frames * STEPS].reshape(frames, STEPS, -1).mean(dim=1)


def _window() -> Tensor:
    return torch.hann_window(lsd.WINDOW_SAMPLES)


def _spectrum(waveform: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
    spectrum = torch.stft(
        waveform,
        lsd.WINDOW_SAMPLES,
        lsd.HOP_SAMPLES,
        window=_window(),
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.abs().T


def _cosines() -> Float[Tensor, "bands cepstra"]:
    # The DCT without its first term, which is loudness.
    bands = (torch.arange(BANDS) + 0.5) / BANDS
    orders = torch.arange(1, CEPSTRA + 1)
    return (2 / BANDS) ** 0.5 * torch.cos(torch.pi * bands[:, None] * orders)
