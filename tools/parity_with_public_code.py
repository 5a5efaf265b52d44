"""Public code and this package beside each other: the same weights, the same recordings.

    python tools/parity_with_public_code.py CLONE [--universa CLONE] [--full-size] [--keep FOLDER]

CLONE is a clone of https://github.com/vvwangvv/URGENT-MOS; --universa one of
https://github.com/urgent-challenge/urgent2026_challenge_track2. Their code builds models with
random weights and a random WavLM, small or (--full-size) as published, writes checkpoints as their
trainer does, and scores and compares recordings one at a time. This package imports the
checkpoints and does the same. Prints the largest difference of each output and exits with 1 if one
is above 1e-4.

Needs what their code imports: hydra-core, omegaconf, einops, accelerate, torchaudio, transformers.
"""

import argparse
import importlib
import json
import sys
import tempfile
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model
from urgentmos.model.import_checkpoint import import_checkpoint

TOLERANCE = 1e-4
SECONDS = (0.9, 2.0, 1.3)
HEADS = 8
# The public order is A better, B better, tie; ours is A better, tie, B better.
CLASS_ORDER = [0, 2, 1]


@dataclass(frozen=True)
class Size:
    """Widths and depths of a model; ``wavlm`` is what its WavLM has unlike WavLM base."""

    dim: int
    feedforward: int
    layers: int
    wavlm: dict[str, Any]


SMALL = Size(
    dim=16,
    feedforward=24,
    layers=2,
    wavlm={
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2, "num_buckets": 8, "max_bucket_distance": 20,
    },
)  # fmt: skip
FULL = Size(dim=768, feedforward=2048, layers=6, wavlm={})


def main() -> int:
    """Run the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("--universa", type=Path, help="Clone of the UniVersa-Ext repository.")
    parser.add_argument("--full-size", action="store_true", help="WavLM base, 768 wide: 0.8 GB.")
    parser.add_argument("--keep", type=Path, help="Keep checkpoints and public results here.")
    options = parser.parse_args()
    for clone, package in ((options.clone, "urgent_mos"), (options.universa, "urgent2026_sqa")):
        if clone is not None and not (clone / package).is_dir():
            parser.error(f"{clone} is not the clone asked for: it has no folder {package}")
    size = FULL if options.full_size else SMALL
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        encoder = make_encoder(Path(temporary) / "wavlm", folder / "encoder", size)
        results = {"urgentmos": run_urgentmos(options.clone, encoder, folder, size)}
        if options.universa:
            results["universa"] = run_universa(options.universa, encoder, folder, size)
        (folder / "expected.json").write_text(json.dumps(results, indent=1) + "\n")
        worst = [compare(name, results[name], folder) for name in results]
    # Also false of what is no number.
    return int(not all(difference <= TOLERANCE for difference in worst))


def recordings() -> list[torch.Tensor]:
    """Tones in noise that any machine makes alike."""
    waveforms = []
    for index, seconds in enumerate(SECONDS):
        time = np.arange(round(seconds * 16000)) / 16000
        noise = np.sin(1e6 * np.sin(np.arange(len(time)) + index))
        tone = np.sin(2 * np.pi * (150 + 90 * index) * time) * np.sin(2 * np.pi * 2 * time)
        waveforms.append(torch.from_numpy(0.2 * tone + 0.02 * noise).float())
    return waveforms


def make_encoder(folder: Path, configuration: Path, size: Size) -> Path:
    """Write a random WavLM, and its configuration alone beside it."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    torch.manual_seed(0)
    model = WavLMModel(WavLMConfig(**size.wavlm))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    model.save_pretrained(folder)
    for place in (folder, configuration):
        extractor.save_pretrained(place)
        model.config.save_pretrained(place)
    return folder


def import_public(clone: Path, module: str) -> Any:
    """Import a module of a clone, without the decoder that only reads files."""
    sys.path.insert(0, str(clone))
    if "torchcodec" not in sys.modules and importlib.util.find_spec("torchcodec") is None:
        decoders = types.ModuleType("torchcodec.decoders")
        decoders.AudioDecoder = None  # type: ignore[attr-defined]
        sys.modules["torchcodec"] = types.ModuleType("torchcodec")
        sys.modules["torchcodec.decoders"] = decoders
    return importlib.import_module(module)


def randomise(model: torch.nn.Module) -> None:
    """Move every weight, so that no part is at a default that would hide a mistake.

    By about as much as it usually is: larger weights would amplify rounding without end.
    """
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "feature_extractor" not in name or name.endswith("weights"):
                parameter.add_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)


def run_urgentmos(clone: Path, encoder: Path, folder: Path, size: Size) -> dict[str, Any]:
    """Write a checkpoint with the public code and record what that code says."""
    public = import_public(clone, "urgent_mos")
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from transformers import get_linear_schedule_with_warmup

    config = OmegaConf.load(clone / "configs" / "f1c1m5_d_corpus.yaml")
    del config["hydra"], config["defaults"]
    config.arch.encoder_dim, config.arch.encoder_nhead = size.dim, HEADS
    config.arch.encoder_dim_feedforward = size.feedforward
    config.arch.category_encoder.num_layers = size.layers
    config.model.feature_extractor.feature_extractors[0].model_name = str(encoder)
    OmegaConf.resolve(config)
    model = instantiate(config.model)
    randomise(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0)
    scheduler = get_linear_schedule_with_warmup(optimizer, 0, 10)
    sum(p.sum() for p in model.parameters() if p.requires_grad).backward()
    optimizer.step()
    scheduler.step()
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "update": 1,
            "config": OmegaConf.to_container(config),
        },
        folder / "urgentmos.pt",
    )
    model = public.load_model_from_checkpoint(folder / "urgentmos.pt", device="cpu").eval()
    waveforms = recordings()
    with torch.inference_mode():
        scores = [model.predict_absolute_scores([waveform]) for waveform in waveforms]
        pairs = [public_comparison(model, a, b) for a in waveforms for b in waveforms]
    return {
        "scores": [{name: float(value) for name, value in each.items()} for each in scores],
        "cmos": [cmos for cmos, _ in pairs],
        "logits": [[logits[index] for index in CLASS_ORDER] for _, logits in pairs],
    }


def public_comparison(model: Any, a: torch.Tensor, b: torch.Tensor) -> tuple[float, list[float]]:
    """Compare two recordings, each encoded alone, with the public heads."""
    (first, first_length), (second, second_length) = (
        model.feature_extractor([each]) for each in (a, b)
    )
    padded = torch.nn.utils.rnn.pad_sequence([first[0], second[0]], batch_first=True)
    cmos, logits = model._predict_comparative_scores_from_feats(
        padded[:1], first_length, padded[1:], second_length
    )
    return float(cmos["mos_overall"]), logits["mos_overall"][0].tolist()


def run_universa(clone: Path, encoder: Path, folder: Path, size: Size) -> dict[str, Any]:
    """The same for UniVersa-Ext, which only scores."""
    public = import_public(clone, "urgent2026_sqa.model")
    metrics = ("mos", "dnsmos_ovrl", "scoreq", "utmos", "nisqa_mos")
    layer = torch.nn.TransformerEncoderLayer(
        size.dim, HEADS, size.feedforward, dropout=0.1, activation="relu", batch_first=True
    )
    model = public.UniVersaExt(
        feature_extractor=public.SSLFeatureExtractor(str(encoder)),
        encoder=torch.nn.TransformerEncoder(layer, size.layers),
        metrics={name: {"min": 1.0, "max": 5.0} for name in metrics},
    )
    randomise(model)
    torch.save({"model": model.state_dict()}, folder / "universa.pt")
    model.eval()
    with torch.inference_mode():
        scores = [
            model.predict(waveform[None], torch.tensor([len(waveform)]))
            for waveform in recordings()
        ]
    return {"scores": [{name: float(value) for name, value in each.items()} for each in scores]}


def compare(name: str, expected: dict[str, Any], folder: Path) -> float:
    """Import a checkpoint, print and return its largest difference from the public results."""
    with tempfile.TemporaryDirectory() as imported:
        import_checkpoint(
            folder / f"{name}.pt",
            imported,
            trained_after_fix=True,
            encoder=str(folder / "encoder"),
        )
        ours = score(load_model(imported), compare_pairs="cmos" in expected)
    differences = {
        metric: largest_difference(
            *([each[metric] for each in results["scores"]] for results in (expected, ours))
        )
        for metric in expected["scores"][0]
    }
    for key in ("cmos", "logits"):
        if key in expected:
            differences[key] = largest_difference(expected[key], ours[key])
    for output, difference in differences.items():
        print(f"{name:<12}{output:<16}{difference:.1e}")
    return float(np.max(list(differences.values())))


def largest_difference(a: list[Any], b: list[Any]) -> float:
    """Give the largest difference between two lists of one shape; NaN where one holds it."""
    return float(np.max(np.abs(np.array(a) - np.array(b))))


def score(assessor: Assessor, *, compare_pairs: bool) -> dict[str, Any]:
    """Score every recording and, where asked for, compare every ordered pair, one at a time."""
    from urgentmos.metrics import get_metric

    waveforms = recordings()
    # The network itself: the assessor leaves digital silence at the edges out, the public code does
    # not.
    with torch.inference_mode():
        outputs = [
            assessor.network(waveform[None], torch.tensor([len(waveform)]))
            for waveform in waveforms
        ]
    results: dict[str, Any] = {
        "scores": [
            {get_metric(name).manifest_name: float(value) for name, value in output.scores.items()}
            for output in outputs
        ]
    }
    for each in results["scores"]:
        # UniVersa-Ext calls the human rating by its own name.
        each["mos"] = each["mos_overall"]
    if compare_pairs:
        network = assessor.network
        with torch.inference_mode():
            frames = [
                network.preference_frames(waveform[None], torch.tensor([len(waveform)]))
                for waveform in waveforms
            ]
            compared = [network.compare_frames(*a, *b) for a in frames for b in frames]
        results["cmos"] = [float(pair.cmos) for pair in compared]
        results["logits"] = [pair.logits[0].tolist() for pair in compared]
    return results


if __name__ == "__main__":
    sys.exit(main())
