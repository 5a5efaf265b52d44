"""The network that is trained: NSNet2 at about half of its widths, 0.7 million parameters.

NSNet2 is the baseline of the Deep Noise Suppression challenge (Braun and Tashev 2020,
https://arxiv.org/abs/2008.06412): log spectrum, a linear layer, two GRU layers, three linear
layers, a gain from 0 to 1 for every bin. Frames here are 32 ms every 16 ms.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from urgentmos.ndarray import NDArray

_FFT_SAMPLES = 512
_HOP_SAMPLES = 256
_BINS = _FFT_SAMPLES // 2 + 1
# Against the recording's own level: 80 dB below it counts as silence.
_FLOOR = 1e-4


class Enhancer(nn.Module):
    """Noisy waveforms to enhanced waveforms at 16 kHz, causal but for the level it divides by."""

    def __init__(self, width: int = 192) -> None:
        """Build it with ``width`` units in its recurrent layers."""
        super().__init__()
        self.inward = nn.Linear(_BINS, width)
        self.recurrent = nn.GRU(width, width, num_layers=2, batch_first=True)
        self.outward = nn.Sequential(
            nn.Linear(width, 3 * width // 2),
            nn.ReLU(),
            nn.Linear(3 * width // 2, 3 * width // 2),
            nn.ReLU(),
            nn.Linear(3 * width // 2, _BINS),
            nn.Sigmoid(),
        )
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(_FFT_SAMPLES), persistent=False)

    def forward(self, noisy: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
        """Attenuate what is not speech; the noisy phase stays."""
        spectrum = torch.stft(
            noisy, _FFT_SAMPLES, _HOP_SAMPLES, window=self.window, return_complex=True
        )
        magnitude = spectrum.abs()
        level = magnitude.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-7)
        features = torch.log(magnitude / level + _FLOOR).transpose(1, 2)
        gains = self.outward(self.recurrent(self.inward(features))[0]).transpose(1, 2)
        enhanced: Tensor = torch.istft(
            spectrum * gains,
            _FFT_SAMPLES,
            _HOP_SAMPLES,
            window=self.window,
            length=noisy.shape[1],
        )
        return enhanced


def load_enhancer(folder: Path, *, device: str = "cpu") -> Enhancer:
    """Load the network that train.py left in the folder of a run, for use."""
    weights = load_file(folder / "enhancer.safetensors")
    network = Enhancer(width=weights["inward.weight"].shape[0])
    network.load_state_dict(weights)
    return network.to(device).eval()


def enhance(
    network: Enhancer, noisy: Float[NDArray[np.float32], " samples"]
) -> Float[NDArray[np.float32], " samples"]:
    """Enhance one recording."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        return network(torch.from_numpy(noisy)[None].to(device))[0].cpu().numpy()


def si_sdr(
    enhanced: Float[Tensor, "batch samples"], clean: Float[Tensor, "batch samples"]
) -> Float[Tensor, " batch"]:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019)."""
    enhanced = enhanced - enhanced.mean(dim=1, keepdim=True)
    clean = clean - clean.mean(dim=1, keepdim=True)
    energy = clean.square().sum(dim=1, keepdim=True)
    target = (enhanced * clean).sum(dim=1, keepdim=True) / (energy + 1e-8) * clean
    distortion = enhanced - target
    ratio = target.square().sum(dim=1) / (distortion.square().sum(dim=1) + 1e-8)
    return 10 * torch.log10(ratio + 1e-8)
