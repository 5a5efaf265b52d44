"""Other tools' scores for ``urgentmos evaluate``, kept in a table because they are slow."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from urgentmos.data.label_table import read_labels, write_labels
from urgentmos.data.manifest import Recording, read_manifest, write_manifest
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.labels.catalogue import LABELLERS, resolve_labels
from urgentmos.labels.runner import label_manifest
from urgentmos.metrics import METRICS


def score_with_peers(
    recordings: Sequence[Recording], peers: Sequence[str], *, cache: Path, workers: int
) -> list[ScorePredictor]:
    """Score recordings with label tools; one whose file is missing has no score.

    Args:
        recordings: What to score.
        peers: Tools, or metrics they give; ``dnsmos`` stands for all that DNSMOS gives.
        cache: Table that scores are read from and added to. A file that changed is scored again.
        workers: Processes; 0 for none beside this one.

    Raises:
        UnknownLabelError: No tool gives one of the peers.
        MissingExtraError: A tool is not on this machine.
    """
    tools = resolve_labels(peers)
    known = read_labels(cache) if cache.exists() else {}
    wanted = {
        _key(recording.audio_path): replace(
            recording,
            uid=_key(recording.audio_path),
            metrics=known.get(_key(recording.audio_path), {}),
            meta={"reference_path": recording.meta.get("reference_path")},
        )
        for recording in recordings
        if recording.audio_path.is_file()
    }
    metrics = [metric for tool in tools for metric in LABELLERS[tool].metrics]
    if any(metric not in row.metrics for row in wanted.values() for metric in metrics):
        cache.parent.mkdir(parents=True, exist_ok=True)
        labelled = _label(list(wanted.values()), tools, beside=cache, workers=workers)
        wanted.update({recording.uid: recording for recording in labelled})
        others = [_placeholder(uid, known[uid]) for uid in known if uid not in wanted]
        write_labels(cache, [*others, *wanted.values()], decimals=5)
    shown = dict.fromkeys(metric for peer in peers for metric in _metrics_of(peer))
    return [_predictor(metric, wanted.values()) for metric in shown]


def _label(
    recordings: Sequence[Recording], tools: Sequence[str], *, beside: Path, workers: int
) -> list[Recording]:
    request, answer = beside.with_suffix(".todo.jsonl"), beside.with_suffix(".done.jsonl")
    write_manifest(request, recordings)
    # A run that was killed once it was complete left it, and labelling writes over nothing.
    answer.unlink(missing_ok=True)
    summary = label_manifest(
        request, answer, labels=tools, workers=workers, progress=sys.stderr.isatty()
    )
    for metric, reasons in summary.missing.items():
        typer.echo(
            f"{METRICS[metric].title}: no score of {sum(reasons.values())} recordings, most often: "
            f"{next(iter(reasons))}",
            err=True,
        )
    labelled = read_manifest(answer)
    for path in (request, answer, answer.with_name(answer.name + ".labels.json")):
        path.unlink(missing_ok=True)
    return labelled


def _predictor(metric: str, labelled: Iterable[Recording]) -> ScorePredictor:
    scores = {row.audio_path: row.metrics[metric] for row in labelled if metric in row.metrics}
    return ScorePredictor(METRICS[metric].title, scores, metric=metric)


def _metrics_of(peer: str) -> tuple[str, ...]:
    return LABELLERS[peer].metrics if peer in LABELLERS else (peer,)


def _placeholder(uid: str, metrics: dict[str, float]) -> Recording:
    return Recording(Path(uid), uid, "-", "-", 1.0, metrics)


def _key(path: Path) -> str:
    """Name a file and its state: another size or time of change is another file."""
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
