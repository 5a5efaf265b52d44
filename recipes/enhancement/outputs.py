"""Write what the trained networks make of noisy speech, as recordings to label and train on.

A network trained through the assessor finds what the assessor hears wrong; labelled by the real
metrics and given to its next training (``data.manifests``), its outputs put that right.
``python recipes/enhancement/outputs.py --help``.
"""

from pathlib import Path

import numpy as np
import soundfile as sf
from enhancer import enhance, load_enhancer
from mixtures import Material, Mixer, Waveform, load_parts, make_parser

from urgentmos.audio import SAMPLE_RATE
from urgentmos.data.manifest import Recording, write_manifest

SECONDS = 5.0
# Every tenth mixture is of the speakers and noises that no training knows.
VALIDATION_EVERY = 10
PARTS = {"train": "train", "validation": "test"}


def noisy_and_clean(
    parts: dict[str, Material], count: int, seed: int
) -> list[tuple[str, Waveform, Waveform]]:
    """Draw ``count`` mixtures; each with the split it belongs to."""
    mixers = {
        split: Mixer(parts[part], seconds=SECONDS, seed=[seed, number])
        for number, (split, part) in enumerate(PARTS.items())
    }
    drawn = []
    for number in range(count):
        split = "train" if (number + 1) % VALIDATION_EVERY else "validation"
        noisy, clean = mixers[split].batch(1)
        drawn.append((split, noisy[0].numpy(), clean[0].numpy()))
    return drawn


def within_full_scale(waveform: Waveform) -> Waveform:
    """Turn a recording down where a file would clip it."""
    return np.float32(waveform * min(1.0, 0.99 / max(np.abs(waveform).max(), 1e-9)))


def write_outputs(
    folder: Path, mixtures: list[tuple[str, Waveform, Waveform]], output: Path, *, device: str
) -> list[Recording]:
    """Enhance the mixtures with the network of one run; their references are written too."""
    network = load_enhancer(folder, device=device)
    recordings = []
    for number, (split, noisy, clean) in enumerate(mixtures):
        name = f"{folder.name}-{number:04d}"
        audio, reference = (output / kind / f"{name}.wav" for kind in ("audio", "reference"))
        enhanced = within_full_scale(enhance(network, noisy))
        for path, waveform in ((audio, enhanced), (reference, clean)):
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, waveform, SAMPLE_RATE, subtype="PCM_16")
        meta = {
            "id": name,
            "reference_path": str(reference),
            "corpus": "enhanced",
            "split": split,
            "origin": "clean",
            "distortions": [{"kind": "recorded_noise"}],
            "family": None,
            "strength": 0.0,
        }
        recordings.append(
            Recording(audio, f"{folder.name}:{name}", folder.name, name, SECONDS, {}, meta)
        )
    return recordings


def main() -> None:
    """Write audio, references and manifest."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=140, help="recordings of each network")
    options = parser.parse_args()
    parts = load_parts(options.sources, options.audio, wanted=list(PARTS.values()))
    recordings = []
    for seed, weights in enumerate(sorted(options.work.glob("*/enhancer.safetensors"))):
        mixtures = noisy_and_clean(parts, options.count, seed)
        recordings += write_outputs(weights.parent, mixtures, options.output, device=options.device)
    write_manifest(options.output / "manifest.jsonl", recordings)
    print(f"{len(recordings)} recordings in {options.output / 'manifest.jsonl'}")


if __name__ == "__main__":
    main()
