"""Small networks whose imperfect outputs teach the model what learned processing does to speech.

Three tasks, one architecture (ConvNeXt blocks on STFT frames, magnitude and phase out, as in Vocos,
https://arxiv.org/abs/2306.00814, without its adversarial training, whose absence is what leaves the
audible artefacts wanted here):

- ``vocoder``: mel spectrogram to waveform;
- ``codec``: through a narrow, quantised bottleneck;
- ``enhancement``: noisy to clean.

Each is saved at several stages of training. ``python recipes/default/networks.py --help``.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

SAMPLE_RATE = 16_000
N_FFT, HOP = 1024, 256


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """One small network.

    Attributes:
        task: ``vocoder``, ``codec`` or ``enhancement``.
        num_mels: Mel bands of the vocoder's input.
        bottleneck: Numbers per frame that pass through the codec.
        num_levels: Quantisation levels of each of them.
        dim: Width of the blocks.
        num_blocks: Depth.
    """

    task: str
    num_mels: int = 80
    bottleneck: int = 16
    num_levels: int = 9
    dim: int = 160
    num_blocks: int = 4


NETWORKS = {
    "vocoder_mel80": NetworkConfig("vocoder", num_mels=80),
    "vocoder_mel40": NetworkConfig("vocoder", num_mels=40),
    "codec_24": NetworkConfig("codec", bottleneck=24),
    "codec_10": NetworkConfig("codec", bottleneck=10, num_levels=5),
    "enhancement_wide": NetworkConfig("enhancement", dim=192, num_blocks=5),
    "enhancement_small": NetworkConfig("enhancement", dim=64, num_blocks=2),
}


class _Block(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.pointwise = nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))

    def forward(self, frames: Tensor) -> Tensor:
        mixed = self.depthwise(frames.transpose(1, 2)).transpose(1, 2)
        return frames + self.pointwise(self.norm(mixed))


class SpectralNetwork(nn.Module):
    """Waveform (batch, samples) in, waveform of the same length out."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        num_bins = N_FFT // 2 + 1
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("mel", _mel_filters(config.num_mels), persistent=False)
        width = config.num_mels if config.task == "vocoder" else num_bins
        self.stem = nn.Linear(width, config.dim)
        blocks = [_Block(config.dim) for _ in range(config.num_blocks)]
        half = config.num_blocks // 2
        self.encoder = nn.Sequential(*blocks[:half])
        self.decoder = nn.Sequential(*blocks[half:])
        if config.task == "codec":
            self.down = nn.Linear(config.dim, config.bottleneck)
            self.up = nn.Linear(config.bottleneck, config.dim)
        outputs = num_bins if config.task == "enhancement" else 3 * num_bins
        self.head = nn.Linear(config.dim, outputs)

    def forward(self, waveform: Tensor) -> Tensor:
        """Pass speech ``(batch, samples)`` through the network and back to a waveform."""
        spectrum = torch.stft(waveform, N_FFT, HOP, window=self.window, return_complex=True)
        magnitude = spectrum.abs().transpose(1, 2)
        if self.config.task == "vocoder":
            magnitude = magnitude @ self.mel
        frames = self.encoder(self.stem(torch.log(magnitude.clamp_min(1e-4))))
        if self.config.task == "codec":
            frames = self.up(self._quantise(self.down(frames)))
        output = self.head(self.decoder(frames)).transpose(1, 2)
        if self.config.task == "enhancement":
            estimate = spectrum * torch.sigmoid(output)
        else:
            log_magnitude, real, imaginary = output.chunk(3, dim=1)
            phase = torch.atan2(imaginary, real + 1e-6)
            estimate = torch.polar(log_magnitude.clamp(-12, 6).exp(), phase)
        return torch.istft(estimate, N_FFT, HOP, window=self.window, length=waveform.shape[-1])

    def _quantise(self, latent: Tensor) -> Tensor:
        """Round to a grid, with the gradient passed straight through (FSQ, arXiv 2309.15505)."""
        half = (self.config.num_levels - 1) / 2
        bounded = torch.tanh(latent) * half
        return bounded + (bounded.round() - bounded).detach()


def _mel_filters(num_mels: int) -> Tensor:
    def to_mel(hertz: np.ndarray) -> np.ndarray:
        return 2595.0 * np.log10(1.0 + hertz / 700.0)

    frequencies = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    edges = np.linspace(to_mel(np.array(20.0)), to_mel(np.array(SAMPLE_RATE / 2)), num_mels + 2)
    position = to_mel(frequencies)[:, None]
    rising = (position - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - position) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling))
    return torch.tensor(filters, dtype=torch.float32)


def spectral_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Multi-resolution magnitude distance (arXiv 1910.11480) plus the waveform's own."""
    loss = (estimate - target).abs().mean() * 5
    for n_fft in (256, 512, 1024, 2048):
        window = torch.hann_window(n_fft)
        a = torch.stft(estimate, n_fft, n_fft // 4, window=window, return_complex=True).abs()
        b = torch.stft(target, n_fft, n_fft // 4, window=window, return_complex=True).abs()
        loss = loss + torch.linalg.norm(a - b) / torch.linalg.norm(b).clamp_min(1e-3)
        loss = loss + (a.clamp_min(1e-3).log() - b.clamp_min(1e-3).log()).abs().mean()
    return loss


def batches(
    speech: list[np.ndarray], noise: list[np.ndarray], *, size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (noisy, clean) batches of one-second clips."""
    rng = np.random.default_rng(seed)
    while True:
        clean = np.stack([_crop(speech[rng.integers(len(speech))], rng) for _ in range(size)])
        added = np.stack([_crop(noise[rng.integers(len(noise))], rng) for _ in range(size)])
        snr_db = rng.uniform(-5, 20, size=(size, 1))
        gain = np.sqrt(
            (clean**2).mean(1, keepdims=True) / ((added**2).mean(1, keepdims=True) + 1e-9)
        )
        noisy = clean + added * gain * 10 ** (-snr_db / 20)
        yield torch.tensor(noisy, dtype=torch.float32), torch.tensor(clean, dtype=torch.float32)


def _crop(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(waveform) < SAMPLE_RATE:
        waveform = np.resize(waveform, SAMPLE_RATE)
    start = rng.integers(len(waveform) - SAMPLE_RATE + 1)
    clip = waveform[start : start + SAMPLE_RATE]
    return clip * (0.08 / (np.sqrt((clip**2).mean()) + 1e-3))


def train(
    name: str,
    *,
    speech: list[np.ndarray],
    noise: list[np.ndarray],
    output: Path,
    stages: list[int],
    seed: int,
) -> None:
    """Train one network and save it at every stage as ``output/NAME@STEPS.safetensors``."""
    torch.manual_seed(seed)
    config = NETWORKS[name]
    network = SpectralNetwork(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=stages[-1])
    start = time.monotonic()
    for step, (noisy, clean) in enumerate(batches(speech, noise, size=12, seed=seed), start=1):
        source = noisy if config.task == "enhancement" else clean
        loss = spectral_loss(network(source), clean)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step in stages:
            save_file(network.state_dict(), output / f"{name}@{step}.safetensors")
            print(f"{name} step {step} loss {loss.item():.3f} {time.monotonic() - start:.0f} s")
        if step == stages[-1]:
            return


def load(path: Path) -> SpectralNetwork:
    """Read one stage of a network saved by :func:`train`."""
    network = SpectralNetwork(NETWORKS[path.name.split("@")[0]])
    network.load_state_dict(load_file(path))
    return network.eval()


def main() -> None:
    """Train every network of the recipe on folders of speech and noise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="list written by prepare.py")
    parser.add_argument("--audio", type=Path, required=True, help="folder the list is about")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS))
    parser.add_argument("--stages", type=int, nargs="+", default=[120, 400, 1200])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    sources = [json.loads(line) for line in arguments.sources.read_text("utf-8").splitlines()]
    speech, noise = (
        [
            soundfile.read(arguments.audio / row["path"], dtype="float32")[0]
            for row in sources
            if row["kind"] == kind and row["split"] == "train"
        ]
        for kind in ("clean", "noise")
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        train(
            name,
            speech=speech,
            noise=noise,
            output=arguments.output,
            stages=arguments.stages,
            seed=arguments.seed,
        )


if __name__ == "__main__":
    main()
