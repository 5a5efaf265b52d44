"""Copy a trained model into the package, with its model card.

The card says what every head learned from, what the model has not learned, how it did on the
validation split, and whose recordings it was trained on. ``python recipes/default/publish.py -h``.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from urgentmos.config import load_config
from urgentmos.data.manifest import Recording, read_manifest
from urgentmos.metrics import METRICS
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model, save_model
from urgentmos.model.config import ModelConfig
from urgentmos.training.config import RunConfig

DEFAULT_TARGET = Path(__file__).resolve().parents[2] / "urgentmos" / "weights" / "default"

PSEUDO_MOS = (
    "a pseudo-MOS, no human rating: 2 Distill-MOS + 0.7 DNSMOS P.808 + PESQ, standardised, brought "
    "to the mean and spread of Distill-MOS (recipes/default/pseudo_mos.py)"
)
DISTILL_MOS = (
    "Distill-MOS (microsoft/Distill-MOS), Copyright (c) Microsoft Corporation [MIT: permission is "
    "granted to deal in it without restriction, provided that this notice goes with it; without "
    "warranty]"
)
NOT_LEARNED = [
    "Speech synthesis, well: how far `mos` ranks synthesisers, see `listening`, lj_tts_mushra.",
    "Human ratings: none were trained on. `mos` follows the opinion of other predictors.",
    "Content: wrong words, language, accent, emotion, or whether a voice is the right one.",
    "Above 8 kHz: recordings are heard at 16 kHz.",
    "Level: recordings are brought to one level first, so loudness does not count.",
    "Singing, music, and several talkers meant to be heard.",
    "Speaker similarity and MCD without the reference: "
    "learned as what damage usually does to them.",
]


def architecture(assessor: Assessor) -> str:
    """Say in a line what the model is made of."""
    config = assessor.config
    families = ", ".join(encoder.family for encoder in config.encoders)
    parts = [f"UrgentMOS: encoders {families}", f"{len(config.groups)} groups of metrics"]
    for native in config.native_scores:
        shares = ", ".join(f"{metric} {share:g}" for metric, share in native.shares.items())
        scorer = config.encoders[native.encoder].family
        parts.append(f"share of the score of {scorer}'s own head: {shares}")
    if config.test_time_augmentation:
        parts.append("every recording heard twice (test-time augmentation)")
    return "; ".join(parts)


def learned_besides(run: RunConfig, card: Mapping[str, Any]) -> list[str]:
    """Say what else than labels the model learned from."""
    besides = ["which of two recordings of one utterance carries the stronger distortion"]
    if run.teacher is not None:
        layers = ", ".join(map(str, run.teacher.layers))
        states = f"hidden states {layers} of {run.teacher.encoder.family}"
        if run.objectives.distillation:
            besides.append(f"{states}, predicted in training only")
        if run.teacher.student is not None:
            family = run.model.encoders[run.teacher.student].family
            besides.append(f"{states}: {family} is a small copy, its first layers those of it")
    if "peak_head" in card:
        besides.append(
            "what DNSMOS's own network judges by, 64 numbers for each 80 ms of "
            f"{card['peak_head']['recordings']} recordings: the encoder's own head for DNSMOS"
        )
    if "frame_head" in card:
        learned = card["frame_head"]
        besides.append(
            "how far each 80 ms are from the clean reference, in "
            f"{learned['recordings']} recordings, {learned['labels']} of them with labels: the "
            f"encoder's own head for {', '.join(learned['metrics'])}"
        )
    if run.start_from is not None:
        besides.append("first weights: those of an earlier run of the recipe")
    return besides


def sources_by_head(
    train: list[Recording], metrics: list[str], tools: dict[str, str], *, config: ModelConfig
) -> Any:
    """Say for every head what its labels are, how many it was trained on, and what else counts."""
    counts = Counter(name for r in train for name in r.metrics)
    label_tools = {**tools, "mos": PSEUDO_MOS}
    for name in metrics:
        if name.startswith("dnsmos_") and name not in label_tools:
            label_tools[name] = label_tools.get("dnsmos", "DNSMOS")
    besides = native_shares(config)
    return {
        name: {
            "title": METRICS[name].title,
            "labels": counts[name],
            "learned_from": label_tools.get(name, METRICS[name].source),
            **({"counted_beside": besides[name]} if name in besides else {}),
        }
        for name in metrics
    }


def native_shares(config: ModelConfig) -> dict[str, str]:
    """Say of which scores an encoder's own score is a part, and how much of it."""
    return {
        name: f"the score of {config.encoders[native.encoder].family}'s own head, with a share of "
        f"{share:g}"
        for native in config.native_scores
        for name, share in native.shares.items()
    }


def what_was_validated(run: RunConfig, assessor: Assessor) -> dict[str, str]:
    """Say where a run validated on stored hidden states, with which an encoder gives no score."""
    natives = run.model.native_scores
    if not natives or run.data.features is None or "validation" in assessor.card:
        return {}
    scorer = ", ".join(run.model.encoders[native.encoder].family for native in natives)
    return {
        "validation_of": f"the heads alone, on stored hidden states, without the score of {scorer} "
        "itself"
    }


def attributions(folders: list[Path], run: RunConfig) -> list[str]:
    """List whose recordings, and whose weights, were used, under which licence."""
    families = {encoder.family for encoder in run.model.encoders}
    if run.teacher is not None:
        families.add(run.teacher.encoder.family)
    found = {DISTILL_MOS} if "distill_mos" in families else set()
    for audio in folders:
        manifest = audio / "manifest.jsonl"
        if not manifest.exists():
            found.add(audio.name)
            continue
        rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
        found |= {f"{row['attribution']} [{row['licence']}]" for row in rows}
    return sorted(found)


def listening_results(path: Path | None) -> Any:
    """Take the summary of `recipes/listening/run`: agreement with listeners, with the peers."""
    return json.loads(path.read_text("utf-8"))["Summary"] if path else []


def validation_figures(run: Path, assessor: Assessor, measured: Path | None) -> Any:
    """Take measured figures, else those that came with the weights, else of the last step."""
    if measured is not None:
        return json.loads(measured.read_text("utf-8"))
    history = (run / "history.jsonl").read_text("utf-8").splitlines()
    return assessor.card.get("validation") or json.loads(history[-1])


def main() -> None:
    """Publish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of urgentmos train")
    parser.add_argument("manifest", type=Path, help="manifest it was trained on")
    parser.add_argument("--labels", type=Path, required=True, help="OUTPUT.labels.json of label")
    parser.add_argument(
        "--audio", type=Path, nargs="+", required=True, help="folders the recipe started from"
    )
    parser.add_argument("--hardware", default="2 CPU cores")
    parser.add_argument("--listening", type=Path, help="results.json of recipes/listening/run")
    parser.add_argument("--validation", type=Path, help="what validate.py --output wrote")
    parser.add_argument("--weights", default="final", help="folder in the run folder")
    parser.add_argument("--output", type=Path, default=DEFAULT_TARGET)
    arguments = parser.parse_args()

    run = load_config(RunConfig, arguments.run / "config.yaml")
    assessor = load_model(arguments.run / arguments.weights)
    recordings = read_manifest(arguments.manifest)
    by_split: dict[str, list[Recording]] = {"train": [], "validation": []}
    for recording in recordings:
        by_split[recording.meta["split"]].append(recording)
    tools = json.loads(arguments.labels.read_text("utf-8"))["tools"]
    card = {
        "name": arguments.output.name,
        "licence": "MIT",
        "architecture": architecture(assessor),
        "recipe": "recipes/default/README.md",
        "recordings": {split: len(found) for split, found in by_split.items()},
        "hours": {
            split: round(sum(recording.duration for recording in found) / 3600, 1)
            for split, found in by_split.items()
        },
        "hardware": arguments.hardware,
        "heads": sources_by_head(
            by_split["train"], assessor.metrics, tools, config=assessor.config
        ),
        "learned_besides": learned_besides(run, assessor.card),
        "not_learned": NOT_LEARNED,
        "validation": validation_figures(arguments.run, assessor, arguments.validation),
        **({} if arguments.validation else what_was_validated(run, assessor)),
        "listening": listening_results(arguments.listening),
        "attributions": attributions(arguments.audio, run),
    }
    save_model(arguments.output, assessor.network, assessor.config, card, half=True)
    size = sum(path.stat().st_size for path in arguments.output.iterdir()) / 1e6
    print(f"{arguments.output}: {size:.1f} MB")


if __name__ == "__main__":
    main()
