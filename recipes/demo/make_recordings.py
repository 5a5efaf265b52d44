"""Make the demo's damaged recordings out of its clean one.

Needs the extra ``simulate`` and sox; the README beside this file has the command, and says where
the clean recording comes from.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

from urgentmos.simulate.distortion import SAMPLE_RATE
from urgentmos.simulate.kinds import DISTORTIONS
from urgentmos.simulate.sources import Sources, read_mono

SEED = 2

# File name → kind of distortion and its strength, from 0 (barely audible) to 1 (severe).
VERSIONS = {
    "noise_mild": ("stationary_noise", 0.45),
    "noise_severe": ("stationary_noise", 0.8),
    "codec": ("amr_nb", 1.0),
    "packet_loss": ("packet_loss", 0.7),
}


def main() -> None:
    """Write four damaged versions of ``clean.flac`` beside it, as FLAC files at 16 kHz."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where clean.flac is")
    folder = parser.parse_args().folder
    clean = read_mono(folder / "clean.flac")
    for name, (kind, strength) in VERSIONS.items():
        write(folder / f"{name}.flac", degrade(clean, kind=kind, strength=strength))


def degrade(waveform: np.ndarray, *, kind: str, strength: float) -> np.ndarray:
    """Apply one distortion; the same seed gives the same damage."""
    rng = np.random.default_rng(SEED)
    distortion = DISTORTIONS[kind]
    params = distortion.sample(strength, rng, Sources())
    print(f"{kind} at strength {strength}: {params}")
    return distortion.apply(waveform, params, rng, Sources())


def write(path: Path, waveform: np.ndarray) -> None:
    """Write 16-bit FLAC, turned down where it would clip."""
    waveform = waveform / max(1.0, float(np.abs(waveform).max()) / 0.99)
    soundfile.write(path, waveform, SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
