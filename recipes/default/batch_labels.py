"""Label many recordings at once, on a GPU: training can label what it has just simulated.

The tools of ``urgentmos label`` are the definition; these give their numbers, to rounding, on
batches of recordings of one length at 16 kHz. There is no value, NaN, where the tools have none,
and nothing that one recording holds changes the label of another.

DNSMOS reads its networks with package ``onnx`` (``pip install onnx``), from package ``speechmos``
or a folder of its ``sig_bak_ovr.onnx`` and ``model_v8.onnx``. Nothing else here needs more than
torch and numpy.

For DNSMOS a recording of 4.51 to 5.49 s is one window, one of 3 s three and one of 4.5 s seven.
They share what they hear alike; where the length is a multiple of 320 samples, so do the copies of
the recording that fill a window.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor, nn

from urgentmos.audio import SAMPLE_RATE
from urgentmos.labels import dnsmos as dnsmos_tool
from urgentmos.labels import lsd as lsd_tool
from urgentmos.labels import mcd as mcd_tool
from urgentmos.labels import mel_cepstrum as cepstrum_tool
from urgentmos.labels import scaling as scaling_tool
from urgentmos.labels.sdr import CLAMP_DB, FILTER_TAPS
from urgentmos.ndarray import NDArray

Batch = Float32[Tensor, "batch samples"]
Wide = Float64[Tensor, "batch samples"]
Labels = Float32[Tensor, " batch"]

# As many as keep the largest intermediate tensors near 1 GB.
_SDR_RECORDINGS = 256
_MEL_CEPSTRUM_FRAMES = 65_000
_ESTOI_RECORDINGS = 128
_DNSMOS_FRAMES = 24_000


class BatchLabels:
    """SDR, LSD, MCD, ESTOI and the four DNSMOS outputs of a batch."""

    def __init__(
        self,
        device: torch.device | str,
        *,
        dnsmos_folder: Path | None = None,
        dnsmos_tf32: bool = False,
    ) -> None:
        """Read the DNSMOS networks.

        Args:
            device: Where the batches are.
            dnsmos_folder: Folder of the networks (default: that of package ``speechmos``).
            dnsmos_tf32: Let the DNSMOS networks round what they multiply to 10 bits.
        """
        self._dnsmos = BatchDnsmos(device, folder=dnsmos_folder, tf32=dnsmos_tf32)

    @torch.no_grad()
    def __call__(
        self, recording: Batch, reference: Batch, has_reference: Bool[Tensor, " batch"]
    ) -> dict[str, Labels]:
        """Label a batch.

        Args:
            recording: Recordings at 16 kHz.
            reference: Their clean references, aligned.
            has_reference: Where ``reference`` is one; elsewhere it may be anything.
        """
        # NaN stands for no reference: it is none of any metric.
        reference = torch.where(has_reference[:, None], reference, torch.nan)
        intrusive = {"sdr": sdr, "lsd": lsd, "mcd": mcd, "estoi": estoi}
        labels = {name: label(recording, reference) for name, label in intrusive.items()}
        return labels | self._dnsmos(recording)


def sdr(recording: Batch, reference: Batch) -> Labels:
    """Compute the SDR (dB) of each recording, as `urgentmos.labels.sdr`."""
    usable, recording, reference = _usable_pairs(recording, reference)
    coherence = torch.cat(
        [
            _coherence(ours.double(), theirs.double())
            for ours, theirs in _parts(_SDR_RECORDINGS, recording, reference)
        ]
    )
    # The largest and smallest share of the recording's energy, at ±CLAMP_DB.
    edge = 1 / (1 + 10 ** (CLAMP_DB / 10))
    coherence = coherence.clamp(edge, 1 - edge)
    return _labels(10 * torch.log10(coherence / (1 - coherence)), usable)


def _coherence(recording: Wide, reference: Wide) -> Float64[Tensor, " batch"]:
    # Share of the recording's energy that a filtered reference explains.
    recording = recording / recording.norm(dim=1, keepdim=True).clamp(min=1e-6)
    reference = reference / reference.norm(dim=1, keepdim=True).clamp(min=1e-6)
    size = 1 << (recording.shape[1] + FILTER_TAPS - 1).bit_length()
    ours, theirs = torch.fft.rfft(recording, size), torch.fft.rfft(reference, size)
    autocorrelation = torch.fft.irfft(theirs.abs().square(), size)[:, :FILTER_TAPS]
    cross = torch.fft.irfft(theirs.conj() * ours, size)[:, :FILTER_TAPS]
    taps = torch.arange(FILTER_TAPS, device=recording.device)
    normal = autocorrelation[:, (taps[:, None] - taps).abs()]

    factor, failed = torch.linalg.cholesky_ex(normal)
    whitened: Tensor = torch.linalg.solve_triangular(factor, cross[..., None], upper=False)
    coherence = whitened[..., 0].square().sum(dim=1)
    # Rounding takes the smallest eigenvalues of a band-limited reference below zero.
    again = failed.nonzero()[:, 0]
    if len(again):
        solution, singular = torch.linalg.solve_ex(normal[again], cross[again])
        solved = (cross[again] * solution).sum(dim=1)
        coherence[again] = torch.where(singular == 0, solved, torch.nan)
    return coherence


def lsd(recording: Batch, reference: Batch) -> Labels:
    """Compute the log-spectral distance of each recording, as `urgentmos.labels.lsd`."""
    usable, recording, reference = _usable_pairs(recording, reference)
    epsilon = lsd_tool._EPSILON
    other_power = (_magnitude(_scaled(recording, reference)) + epsilon).square()
    log_ratio = torch.log(_magnitude(reference.double()).square() / other_power + epsilon)
    return _labels(log_ratio.square().mean(dim=1).sqrt().mean(dim=1), usable)


def _magnitude(waveform: Wide) -> Float64[Tensor, "batch bins frames"]:
    size = lsd_tool.WINDOW_SAMPLES
    window = torch.hann_window(size, dtype=torch.float64, device=waveform.device)
    spectrum = torch.stft(
        waveform,
        size,
        lsd_tool.HOP_SAMPLES,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return torch.abs(spectrum)


def mcd(recording: Batch, reference: Batch) -> Labels:
    """Compute the mel-cepstral distortion (dB) of each recording, as `urgentmos.labels.mcd`."""
    if not mcd_tool.FRAME_SAMPLES <= recording.shape[1] <= mcd_tool.MAX_SAMPLES:
        return torch.full_like(recording[:, 0], torch.nan)
    usable, recording, reference = _usable_pairs(recording, reference)
    waveforms = torch.cat([_scaled(recording, reference), reference.double()])
    frames = waveforms.unfold(1, mcd_tool.FRAME_SAMPLES, mcd_tool.HOP_SAMPLES)
    parts = torch.split(frames, max(1, _MEL_CEPSTRUM_FRAMES // frames.shape[1]))
    cepstra = torch.cat([_mel_cepstra(part.flatten(0, 1)) for part in parts])
    ours, theirs = cepstra.reshape(2, *recording.shape[:1], frames.shape[1], -1).unbind()
    distance = _mean_distance(ours, theirs)
    return _labels(mcd_tool._TO_DB * np.sqrt(2.0) * distance, usable)


def _mel_cepstra(frames: Float64[Tensor, "frames samples"]) -> Float64[Tensor, "frames terms"]:
    # As urgentmos.labels.mel_cepstrum, step by step.
    device, terms = frames.device, mcd_tool.ORDER + 1
    window, models, correlate, start, target = _mel_bases(device)
    spectrum = torch.view_as_real(torch.fft.rfft(frames * window))
    periodogram = spectrum.square().sum(dim=-1) + mcd_tool._PERIODOGRAM_FLOOR
    cepstra = periodogram.log() @ start
    lags = torch.arange(terms, device=device)
    toeplitz, hankel = (lags[:, None] - lags).abs(), lags[:, None] + lags

    active, now = torch.arange(len(frames), device=device), cepstra.clone()
    before = torch.full_like(cepstra[:, 0], torch.inf)
    for iteration in range(1, cepstrum_tool._MAX_ITERATIONS + 1):
        correlation = (periodogram * torch.exp(-2 * (now @ models))) @ correlate
        if iteration > cepstrum_tool._UNCHECKED_ITERATIONS:
            change = (correlation[:, 0] - before).abs()
            moving = (change >= cepstrum_tool._CONVERGED * correlation[:, 0]).nonzero()[:, 0]
            active, now, periodogram, correlation = (
                each[moving] for each in (active, now, periodogram, correlation)
            )
        if len(active) == 0:
            break
        before = correlation[:, 0]
        normal = correlation[:, toeplitz] + correlation[:, hankel]
        step, singular = torch.linalg.solve_ex(normal, correlation[:, :terms] - target)
        now += torch.where(singular[:, None] == 0, step, torch.nan)
        cepstra[active] = now
    return cepstra


@cache
def _mel_bases(device: torch.device) -> tuple[Tensor, ...]:
    # Window, cosines (terms, bins), residual to its correlation, log periodogram to the start, and
    # mean of log |H| by term.
    terms = mcd_tool.ORDER + 1
    bases = cepstrum_tool._bases(mcd_tool.FRAME_SAMPLES, 2 * mcd_tool.ORDER, mcd_tool.ALPHA)
    cosines, weights, warped_weights = bases
    models = cosines[:, :terms]
    start = warped_weights[:, None] * models
    start[:, 0] /= 2
    arrays = (
        mcd_tool._WINDOW,
        np.ascontiguousarray(models.T),
        weights[:, None] * cosines,
        start,
        (-mcd_tool.ALPHA) ** np.arange(terms),
    )
    return tuple(torch.from_numpy(each).to(device) for each in arrays)


# The distance that one unit of a path's cost stands for.
_UNIT = 2.0**-30
# Cost of a path that there is not; the costs of those that there are stay below, up to 60 s.
_NO_PATH = 1 << 61


def _mean_distance(
    ours: Float64[Tensor, "batch frames terms"], theirs: Float64[Tensor, "batch frames terms"]
) -> Float64[Tensor, " batch"]:
    # Mean distance of the cells on the cheapest warping path, that of mcd_tool.warping_path.
    #
    # Cells of one anti-diagonal do not depend on each other. Nothing is traced back: the cost of
    # the path to a cell is a whole number, with the count of the path's cells in its lowest bits.
    # Between the two, two bits say by which step a path would come, and are wiped once it has: of
    # equal costs the diagonal step is the smallest, then the one from above.
    #
    #     cost of a path   | distance in units | step, 2 bits | cells |
    batch, frames, _ = ours.shape
    device, diagonals = ours.device, 2 * frames - 1
    step = 1 << diagonals.bit_length()
    distance = _distances(ours, theirs)
    defined = distance.sum(dim=(1, 2)).isfinite()
    cost = (distance.nan_to_num_() / _UNIT).round_().long().mul_(4 * step).add_(1)
    # Each anti-diagonal (rows and columns that add up to its number) gets a place of its own, once
    # for each step that may follow. With as much room behind each row as there are columns less
    # one, a step down along an anti-diagonal is a step of the width less one; it finds the room
    # where there is no column. No path gets to cells before the first column, and none from cells
    # behind the last to a cell inside.
    width = diagonals
    roomy = nn.functional.pad(cost, (0, width - frames))
    turned = roomy.as_strided((diagonals, 1, batch, frames), (1, 0, frames * width, width - 1))
    steps = torch.arange(3, device=device)[:, None, None]
    skewed = cost.new_empty(diagonals, 3, batch, frames)
    torch.add(turned, steps * step, out=skewed)

    # Paths to the cells of three diagonals, by the step that would follow; a column before row 0.
    paths = cost.new_full((3, 3, batch, frames + 1), _NO_PATH)
    paths[1, 0, :, 0] = 0
    ends = [
        (diagonally[:, :-1], down[:, :-1], right[:, 1:], each[..., 1:])
        for each in paths
        for diagonally, down, right in [each.unbind()]
    ]
    best, wiped = torch.empty_like(cost[:, 0]), ~(3 * step)
    for number, diagonal in enumerate(skewed.unbind()):
        diagonally = ends[(number + 1) % 3][0]
        _, down, right, _ = ends[(number + 2) % 3]
        torch.minimum(down, right, out=best)
        torch.minimum(best, diagonally, out=best)
        best.bitwise_and_(wiped)
        torch.add(best, diagonal, out=ends[number % 3][3])
        if number == 0:
            paths[1, :, :, 0] = _NO_PATH
    last = paths[(diagonals - 1) % 3, 0, :, -1]
    cells = last % step
    total = (last // (4 * step)).double() * _UNIT
    return torch.where(defined, total / cells, torch.nan)


def _distances(
    ours: Float64[Tensor, "batch frames terms"], theirs: Float64[Tensor, "batch frames terms"]
) -> Float64[Tensor, "batch frames frames"]:
    # Not |a|² + |b|² - 2ab: the distance of equal frames has to be 0.
    squared = ours.new_zeros(len(ours), ours.shape[1], ours.shape[1])
    for a, b in zip(ours.unbind(-1), theirs.unbind(-1), strict=True):
        difference = a[:, :, None] - b[:, None, :]
        squared.addcmul_(difference, difference)
    return squared.sqrt_()


# ESTOI, as package pystoi 0.4.1 computes it.
_STOI_RATE = 10_000
_STOI_FRAME = 256
_STOI_HOP = 128
_STOI_FFT = 512
_STOI_BANDS = 15
_STOI_LOWEST_HZ = 150
_STOI_SEGMENT = 30
_STOI_RANGE_DB = 40.0
_STOI_EPSILON = float(np.finfo(float).eps)
_UP, _DOWN = 5, 8
# So many samples at a time become five eighths of them, by one matrix product.
_BLOCK = 160


def estoi(recording: Batch, reference: Batch) -> Labels:
    """Compute ESTOI of each recording, as `urgentmos.labels.estoi`."""
    usable, recording, reference = _usable_pairs(recording, reference)
    # One frame at least, as one is left where all are silent.
    if ceil(recording.shape[1] * _UP / _DOWN) <= _STOI_FRAME:
        return torch.full_like(recording[:, 0], torch.nan)
    parts = _parts(_ESTOI_RECORDINGS, recording, reference)
    return _labels(torch.cat([_estoi(ours, theirs) for ours, theirs in parts]), usable)


def _estoi(recording: Batch, reference: Batch) -> Float64[Tensor, " batch"]:
    bands, num_frames = _bands_of_speech(recording, reference)
    # (2, batch, segments, bands, frames of a segment); those with a frame that is not there are
    # left out at the end.
    missing = max(0, _STOI_SEGMENT - bands.shape[-1])
    padded = nn.functional.pad(bands, (0, missing))
    segments = padded.unfold(-1, _STOI_SEGMENT, 1).transpose(2, 3)
    numbers = torch.arange(segments.shape[2], device=bands.device)
    counts = (num_frames - _STOI_SEGMENT + 1)[:, None]
    # pystoi's noise, for what does not vary and so has no direction: it draws it for the bands of
    # the reference's segments, their frames, and then for those of the recording.
    draws = _stoi_noise(1 << (4 * len(numbers)).bit_length(), bands.device)
    band_noise, frame_noise = (
        torch.stack([(before * counts + numbers).clamp(min=0) for before in (first, first + 2)])
        for first in (0, 1)
    )
    segments = _unit(segments + draws[band_noise], dim=-1)
    segments = _unit(segments + draws[frame_noise], dim=-2)
    correlation = (segments[0] * segments[1]).sum(dim=(-1, -2)) / _STOI_SEGMENT
    total = torch.where(numbers < counts, correlation, 0.0).sum(dim=1)
    return torch.where(counts[:, 0] > 0, total / counts[:, 0], torch.nan)


def _unit(segments: Tensor, *, dim: int) -> Tensor:
    centred = segments - segments.mean(dim=dim, keepdim=True)
    norm: Tensor = torch.linalg.vector_norm(centred, dim=dim, keepdim=True)
    return centred / norm


@cache
def _stoi_noise(
    num_segments: int, device: torch.device
) -> Float64[Tensor, "segments bands frames"]:
    # The first numbers of the stream that the tool seeds, which pystoi draws from.
    stream = np.random.RandomState(0)
    noise = stream.standard_normal((num_segments, _STOI_BANDS, _STOI_SEGMENT))
    return torch.from_numpy(_STOI_EPSILON * noise).to(device)


def _bands_of_speech(
    recording: Batch, reference: Batch
) -> tuple[Float64[Tensor, "2 batch bands frames"], Tensor]:
    # Third-octave magnitudes of both without the frames in which the reference is silent, and how
    # many frames are left of each recording: those behind them are not to be used.
    device = recording.device
    both = _resample_for_stoi(torch.stack([reference, recording]).double())
    window = torch.from_numpy(np.hanning(_STOI_FRAME + 2)[1:-1]).to(device)
    # pystoi leaves out a last frame that ends where the waveform ends.
    frames = both[..., :-1].unfold(-1, _STOI_FRAME, _STOI_HOP) * window
    energy = 20 * torch.log10(frames[0].norm(dim=-1) + _STOI_EPSILON)
    speech = energy.amax(dim=1, keepdim=True) - _STOI_RANGE_DB - energy < 0
    # Those with speech to the front, in order; then their overlapping halves are added.
    order = torch.argsort((~speech).byte(), dim=1, stable=True)
    kept = torch.gather(frames, 2, order[None, :, :, None].expand_as(frames))
    kept = kept * speech.gather(1, order)[None, :, :, None]
    halves = nn.functional.pad(kept[..., :_STOI_HOP], (0, 0, 0, 1))
    halves[:, :, 1:] += kept[..., _STOI_HOP:]
    joined = torch.cat([halves[:, :, :-1], halves[:, :, 1:]], dim=-1) * window
    spectrum = torch.view_as_real(torch.fft.rfft(joined, _STOI_FFT))
    power = spectrum.square().sum(dim=-1)
    bands = (power @ _third_octaves(device)).sqrt().transpose(2, 3)
    # Here too the last one is left out.
    return bands, speech.sum(dim=1) - 1


def _resample_for_stoi(
    waveform: Float64[Tensor, "pair batch samples"],
) -> Float64[Tensor, "pair batch resampled"]:
    samples = waveform.shape[-1]
    matrix, before, after = _stoi_resampler(waveform.device)
    num_blocks = ceil(samples / _BLOCK)
    padded = nn.functional.pad(waveform, (before, num_blocks * _BLOCK - samples + after))
    blocks = padded.unfold(-1, before + _BLOCK + after, _BLOCK) @ matrix
    return blocks.flatten(2)[..., : ceil(samples * _UP / _DOWN)]


@cache
def _stoi_resampler(device: torch.device) -> tuple[Tensor, int, int]:
    # Octave's filter: 60 dB of rejection, Kaiser window.
    cutoff = 1 / (2 * _DOWN)
    half = ceil((60 - 8) / (28.714 * cutoff / 10))
    time = np.arange(-half, half + 1)
    taps = np.kaiser(2 * half + 1, 0.1102 * (60 - 8.7)) * np.sinc(2 * cutoff * time)
    taps *= _UP / taps.sum()
    margin = half // _UP + 1
    inputs = np.arange(-margin, _BLOCK + margin)[:, None]
    outputs = np.arange(_BLOCK * _UP // _DOWN)
    tap = _DOWN * outputs - _UP * inputs + half
    inside = (tap >= 0) & (tap < len(taps))
    matrix = np.where(inside, taps[np.clip(tap, 0, len(taps) - 1)], 0.0)
    return torch.from_numpy(matrix).to(device), margin, margin


@cache
def _third_octaves(device: torch.device) -> Float64[Tensor, "bins bands"]:
    frequencies = np.linspace(0, _STOI_RATE, _STOI_FFT + 1)[: _STOI_FFT // 2 + 1]
    # From the bin nearest to a band's lower edge to the one below the nearest to its upper edge.
    edges = _STOI_LOWEST_HZ * 2.0 ** ((2 * np.arange(_STOI_BANDS + 1) - 1) / 6)
    nearest = np.abs(frequencies[:, None] - edges).argmin(axis=0)
    bins = np.arange(len(frequencies))[:, None]
    bands = (bins >= nearest[:-1]) & (bins < nearest[1:])
    return torch.from_numpy(bands.astype(np.float64)).to(device)


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
        p835, constants = _read_network(folder / "sig_bak_ovr.onnx")
        p808, _ = _read_network(folder / "model_v8.onnx")
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
        usable = _has_sound(recording)
        recording = torch.where(usable[:, None], recording, _stand_in(recording)).clamp(-1.0, 1.0)
        windows = _cut_windows(recording.shape[1], recording.device)
        rows = max(1, _DNSMOS_FRAMES // windows.most_frames)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=self._tf32):
            parts = [self._outputs(part, windows) for (part,) in _parts(rows, recording)]
        outputs = torch.cat(parts).unbind(1)
        names = dnsmos_tool.Dnsmos.metrics
        return {name: _labels(each, usable) for name, each in zip(names, outputs, strict=True)}

    @torch.no_grad()
    def peaks(self, recording: Batch) -> Float[Tensor, "batch frames 64"]:
        """Give what the P.835 network judges by, once each 80 ms, of each recording as a whole.

        That is the largest output over frequency of each channel of its last convolution; the
        network takes the largest of these over its window.
        """
        spectrum = self._spectrum(nn.functional.pad(recording, (0, _DNSMOS_HOP)))
        maps: Tensor = self._head[: self._peaks_at](self._layers(spectrum[:, None]))
        return maps.amax(dim=3).transpose(1, 2)

    @torch.no_grad()
    def judge(self, peaks: Float[Tensor, "batch frames 64"]) -> dict[str, Labels]:
        """Say what the P.835 network makes of such peaks: speech, background, overall."""
        outputs = self._head[self._peaks_at + 1 :](peaks.amax(dim=1)[..., None, None])
        return _as_ratings(dict(zip(_P835_OUTPUTS, outputs.unbind(-1), strict=True)))

    def _outputs(self, recording: Batch, windows: "_Windows") -> Float[Tensor, "batch outputs"]:
        copies = ceil(windows.samples / recording.shape[1])
        audio = recording.repeat(1, copies)[:, : windows.samples]
        raw = dict(zip(_P835_OUTPUTS, self._p835_outputs(audio, windows).unbind(-1), strict=True))
        scores = {"dnsmos_p808": self._p808_output(audio, windows), **_as_ratings(raw)}
        by_window = torch.stack([scores[name] for name in dnsmos_tool.Dnsmos.metrics], dim=-1)
        return (by_window * windows.weights[:, None]).sum(dim=1)

    def _p835_outputs(self, audio: Batch, windows: "_Windows") -> Float[Tensor, "batch windows 3"]:
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
        frames = audio.double().unfold(1, 2 * _DNSMOS_HOP, _DNSMOS_HOP) @ self._kernels
        real, imaginary = frames.chunk(2, dim=-1)
        power = (real.square() + imaginary.square()).clamp(min=1e-12)
        return torch.log10(power).float()

    def _p808_output(self, audio: Batch, windows: "_Windows") -> Float[Tensor, "batch windows"]:
        size, hop = dnsmos_tool._FFT_SAMPLES, dnsmos_tool._HOP_SAMPLES
        length = dnsmos_tool._WINDOW_SAMPLES - hop
        starts = [frame * _DNSMOS_HOP for frame in windows.first_frames]
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


_P835_OUTPUTS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")
_DNSMOS_HOP = 160
_WINDOW_FRAMES = 900
# What four layers of three frames see to each side.
_REACH = 4


@dataclass(frozen=True)
class _Windows:
    """Which frames DNSMOS hears of recordings of one length, and which of them are shared."""

    samples: int
    """Of the recording and its copies, up to where the last window ends."""
    first_frames: list[int]
    """First frame of each window that differs from the others."""
    weights: Tensor
    """(windows,): their shares of the mean."""
    shared_frames: int
    """So many are computed once."""
    inner_rows: Tensor
    """(windows, 446): rows of two frames in the pooled output for the shared frames."""
    edge_frames: Tensor
    """(windows, 2, 8): the frames that decide what comes of the first and last four."""

    @property
    def most_frames(self) -> int:
        """Frames per recording of the largest tensors."""
        return max(self.shared_frames, _WINDOW_FRAMES * len(self.first_frames) // 2)


@cache
def _cut_windows(samples: int, device: torch.device) -> _Windows:
    silence = np.zeros(samples, dtype=np.float32)
    starts = [start for start, _ in dnsmos_tool.cut_windows(silence)]
    counts = Counter(starts)
    hop = SAMPLE_RATE // _DNSMOS_HOP
    first_frames = [starts.index(start) * hop for start in counts]
    first = torch.tensor(first_frames)[:, None]
    inner = first + torch.arange(_REACH, _WINDOW_FRAMES - _REACH, 2)
    num_frames = max(first_frames) + _WINDOW_FRAMES
    shared_frames = num_frames
    # Frames repeat from copy to copy; rows of two frames do too where their number is even.
    period, rest = divmod(samples, _DNSMOS_HOP)
    if rest == 0 and period % 2 == 0 and period + 2 * _REACH < num_frames:
        shared_frames = period + 2 * _REACH
        inner = _REACH + (inner - _REACH) % period
    edge = torch.arange(2 * _REACH)
    edges = torch.stack([first + edge, first + _WINDOW_FRAMES - 2 * _REACH + edge], dim=1)
    return _Windows(
        samples=(num_frames + 1) * _DNSMOS_HOP,
        first_frames=first_frames,
        weights=torch.tensor([count / len(starts) for count in counts.values()]).to(device),
        shared_frames=shared_frames,
        inner_rows=(inner // 2).to(device),
        edge_frames=edges.to(device),
    )


def slaney_filters() -> Float32[NDArray[np.float32], "bins mels"]:
    """Give the filters of the P.808 network: those of ``librosa.filters.mel``."""
    # Linear up to 1 kHz (15 mel), then 27 mel to a factor of 6.4; each filter of unit area.
    linear, step = 200 / 3, np.log(6.4) / 27
    highest = 15 + np.log(SAMPLE_RATE / 2 / 1000) / step
    mels = np.linspace(0, highest, dnsmos_tool._NUM_MELS + 2)
    edges = np.where(mels < 15, linear * mels, 1000 * np.exp(step * (mels - 15)))
    frequencies = np.fft.rfftfreq(dnsmos_tool._FFT_SAMPLES, 1 / SAMPLE_RATE)[:, None]
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return np.asarray(filters, dtype=np.float32)


# Operators before the first layer, and those that move axes between the layers.
_NOT_LAYERS = frozenset(
    (
        "Slice",
        "Reshape",
        "Concat",
        "Transpose",
        "Unsqueeze",
        "Mul",
        "Sqrt",
        "Pow",
        "Max",
        "Log",
        "Div",
    )
)


def _read_network(path: Path) -> tuple[nn.Sequential, dict[str, NDArray[np.float32]]]:
    # The layers of a network of one path, and its constants by name.
    import onnx  # of no extra: nothing else here needs it

    graph = onnx.load(path).graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    layers: list[nn.Module] = []
    for node in graph.node:
        arrays = [constants[name] for name in node.input if name in constants]
        if node.op_type == "Conv" and arrays[0].ndim == 4:
            layers.append(_convolution(*arrays))
        elif node.op_type == "Relu":
            layers.append(nn.ReLU(inplace=True))
        elif node.op_type == "MaxPool":
            layers.append(nn.MaxPool2d(2))
        elif node.op_type == "ReduceMax":
            layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten()]
        elif node.op_type == "MatMul":
            matrix = arrays[0]
        elif node.op_type == "Add" and arrays:
            layers.append(_linear(matrix, arrays[0]))
        elif node.op_type not in _NOT_LAYERS | {"Conv", "Add"}:
            raise ValueError(f"{path}: unknown operator {node.op_type}; expected DNSMOS's network")
    return nn.Sequential(*layers).eval().requires_grad_(False), constants


def _convolution(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> nn.Conv2d:
    outputs, inputs, height, width = weight.shape
    layer = nn.Conv2d(inputs, outputs, (height, width), padding=1)
    layer.load_state_dict({"weight": _tensor(weight), "bias": _tensor(bias)})
    return layer


def _linear(matrix: NDArray[np.float32], bias: NDArray[np.float32]) -> nn.Linear:
    layer = nn.Linear(*matrix.shape)
    layer.load_state_dict({"weight": _tensor(matrix.T), "bias": _tensor(bias)})
    return layer


def _tensor(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(array.copy())


def _usable_pairs(recording: Batch, reference: Batch) -> tuple[Tensor, Batch, Batch]:
    # Where both have sound; elsewhere noise, so that everything after can be computed for all.
    usable = _has_sound(recording) & _has_sound(reference)
    noise = _stand_in(recording)
    recording, reference = (
        torch.where(usable[:, None], each, noise) for each in (recording, reference)
    )
    return usable, recording, reference


def _parts(size: int, *batches: Batch) -> Iterator[tuple[Batch, ...]]:
    return zip(*(torch.split(batch, size) for batch in batches), strict=True)


def _has_sound(waveform: Batch) -> Bool[Tensor, " batch"]:
    # Of finite values the largest is finite, and above zero.
    peak = waveform.abs().amax(dim=1)
    return (peak > 0) & peak.isfinite()


def _stand_in(waveform: Batch) -> Float32[Tensor, " samples"]:
    # A chirp whose steps are no multiples of the rate is as good as noise.
    time = torch.arange(waveform.shape[1], device=waveform.device, dtype=torch.float64)
    return (0.1 * torch.sin(0.7548776662 * time.square())).float()


def _scaled(recording: Batch, reference: Batch) -> Wide:
    # As urgentmos.labels.scaling.
    wide, other = recording.double(), reference.double()
    energy = wide.square().sum(dim=1, keepdim=True)
    return (wide * other).sum(dim=1, keepdim=True) / (energy + scaling_tool._EPSILON) * wide


def _labels(values: Float[Tensor, " batch"], usable: Bool[Tensor, " batch"]) -> Labels:
    return torch.where(usable, values, torch.nan).float()
