"""Other tools' scores for ``urgentmos evaluate``, kept in a table because they are slow."""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from urgentmos.cli.progress import Failures
from urgentmos.data.label_table import read_labels, write_labels
from urgentmos.data.manifest import Recording, read_manifest, write_manifest
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.file_lock import FileLockedError, lock_folder, wait_for_lock
from urgentmos.labels.catalogue import LABELLERS, resolve_labels
from urgentmos.labels.labeller import NO_REFERENCE
from urgentmos.labels.part_file import PartFile
from urgentmos.labels.runner import label_manifest
from urgentmos.metrics import METRICS
from urgentmos.name_bytes import name_bytes

Labels = Mapping[str, Mapping[str, float]]
"""Scores by file and state, then by metric."""


def score_with_peers(
    recordings: Sequence[Recording],
    peers: Sequence[str],
    *,
    cache: Path,
    workers: int,
    failures: Failures,
) -> list[ScorePredictor]:
    """Score recordings with label tools; one whose file is missing has no score.

    Args:
        recordings: What to score.
        peers: Tools, or metrics they give; ``dnsmos`` stands for all that DNSMOS gives.
        cache: Table that scores are read from and added to. A file that changed is scored again.
        workers: Processes; 0 for none beside this one.
        failures: Where recordings that a peer could not score are told. To have no reference is no
            failure, unless the peer scored none.

    Raises:
        UnknownLabelError: No tool gives one of the peers.
        MissingExtraError: A tool is not on this machine.
    """
    tools = resolve_labels(peers)
    keys = {
        recording.audio_path: _key(recording.audio_path)
        for recording in recordings
        if recording.audio_path.is_file()
    }
    known = _read_cache(cache)
    wanted = {
        keys[recording.audio_path]: replace(
            recording,
            uid=keys[recording.audio_path],
            metrics=dict(known.get(keys[recording.audio_path], {})),
            meta={"reference_path": recording.meta.get("reference_path")},
        )
        for recording in recordings
        if recording.audio_path in keys
    }
    metrics = [metric for tool in tools for metric in LABELLERS[tool].metrics]
    if any(metric not in row.metrics for row in wanted.values() for metric in metrics):
        labelled = _label(list(wanted.values()), tools, cache=cache, workers=workers)
        wanted.update({row.uid: row for row in labelled})
    rows = {path: wanted[key] for path, key in keys.items()}
    for peer in dict.fromkeys(peers):
        _tell_failures(peer, rows, failures)
    shown = dict.fromkeys(metric for peer in peers for metric in _metrics_of(peer))
    return [_predictor(metric, rows) for metric in shown]


def _label(
    recordings: Sequence[Recording], tools: Sequence[str], *, cache: Path, workers: int
) -> list[Recording]:
    with _workplace(cache, recordings, tools) as folder:
        request, answer = folder / "request.jsonl", folder / "answer.jsonl"
        answer.unlink(missing_ok=True)
        write_manifest(request, recordings)
        try:
            summary = label_manifest(
                request, answer, labels=tools, workers=workers, progress=sys.stderr.isatty()
            )
            labelled = read_manifest(answer)
        except BaseException:
            # Interrupted, it may have worked for hours.
            _add_to_cache(cache, _finished(answer))
            raise
    _add_to_cache(cache, {row.uid: row.metrics for row in labelled})
    for metric, reasons in summary.missing.items():
        typer.echo(
            f"{METRICS[metric].title}: no score of {sum(reasons.values())} recordings, most often: "
            f"{next(iter(reasons))}",
            err=True,
        )
    return labelled


@contextlib.contextmanager
def _workplace(
    cache: Path, recordings: Sequence[Recording], tools: Sequence[str]
) -> Iterator[Path]:
    """Give a folder beside the cache that the same request finds again after a kill.

    Other requests have other folders; the same one at the same time has a private folder.
    """
    versions = [f"{tool} {LABELLERS[tool].build('float32').version}" for tool in tools]
    asked = "\n".join([*versions, *(recording.uid for recording in recordings)])
    digest = hashlib.sha256(name_bytes(asked)).hexdigest()[:12]
    folder = cache.with_name(f"{cache.name}.{digest}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"{str(cache.parent)!r} cannot keep the peers' scores ({error.strerror}); name a table "
            "elsewhere: --peer-cache"
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_folder(folder))
        except FileLockedError:
            yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="urgentmos-peers-")))
        else:
            yield folder
            shutil.rmtree(folder)


def _finished(answer: Path) -> Labels:
    """Read what a labelling job had done when it was stopped."""
    path = answer.with_name(answer.name + ".part.jsonl")
    if not path.exists():
        return {}
    with PartFile(path, tools={}) as part:
        return {uid: outcome.metrics for uid, outcome in part.outcomes.items()}


def _read_cache(cache: Path) -> Labels:
    return read_labels(cache) if cache.exists() else {}


def _add_to_cache(cache: Path, labels: Labels) -> None:
    """Add scores to those that are there by now, other runs' among them."""
    if not any(labels.values()):
        return
    with wait_for_lock(cache):
        kept = dict(_read_cache(cache))
        for uid, metrics in labels.items():
            kept[uid] = {**kept.get(uid, {}), **metrics}
        # The suffix stays: it says whether the table is compressed.
        unfinished = cache.with_name(f"unfinished.{cache.name}")
        rows = [_placeholder(uid, metrics) for uid, metrics in kept.items()]
        write_labels(unfinished, rows, decimals=5)
        os.replace(unfinished, cache)


def _tell_failures(peer: str, rows: Mapping[Path, Recording], failures: Failures) -> None:
    metrics = _metrics_of(peer)
    scored_some = any(metric in row.metrics for row in rows.values() for metric in metrics)
    for path, row in rows.items():
        errors = row.meta.get("label_errors", {})
        reasons = [errors[metric] for metric in metrics if metric in errors]
        if reasons and not (reasons[0] == NO_REFERENCE and scored_some):
            failures.add(str(path), f"{peer}: {reasons[0]}")


def _predictor(metric: str, rows: Mapping[Path, Recording]) -> ScorePredictor:
    scores = {path: row.metrics[metric] for path, row in rows.items() if metric in row.metrics}
    return ScorePredictor(METRICS[metric].title, scores, metric=metric)


def _metrics_of(peer: str) -> tuple[str, ...]:
    return LABELLERS[peer].metrics if peer in LABELLERS else (peer,)


def _placeholder(uid: str, metrics: Mapping[str, float]) -> Recording:
    return Recording(Path(uid), uid, "-", "-", 1.0, dict(metrics))


def _key(path: Path) -> str:
    """Name a file and its state: another size or time of change is another file."""
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
