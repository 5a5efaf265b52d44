"""Scores of other tools, to set beside those of models."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from urgentmos.data.file_key import file_key
from urgentmos.data.manifest import Recording, read_manifest, write_manifest
from urgentmos.evaluation.peer_cache import Labels, PeerCache
from urgentmos.evaluation.predictors import ScorePredictor, by_reference
from urgentmos.labels.catalogue import LABELLERS, resolve_labels
from urgentmos.labels.labeller import NO_REFERENCE
from urgentmos.labels.part_file import PartFile
from urgentmos.labels.runner import label_manifest
from urgentmos.labels.summary import LabelSummary
from urgentmos.metrics import METRICS

Rows = Mapping[tuple[Path, str | None], Recording]
"""What is known of each file beside each reference, or beside none."""


class PeerScores(NamedTuple):
    """What other tools gave.

    Attributes:
        predictors: One per metric, by the metric's title.
        failures: Files that a peer could not score, and why. To have no reference is no failure,
            unless the peer scored none.
        missing: Recordings without a score by reason, for each metric, among those that this run
            had to compute. A file counts once beside each of its references.
    """

    predictors: list[ScorePredictor]
    failures: list[tuple[Path, str]]
    missing: Mapping[str, Mapping[str, int]]


def score_with_peers(
    recordings: Sequence[Recording],
    peers: Sequence[str],
    *,
    cache: Path,
    workers: int = 1,
    progress: bool = False,
) -> PeerScores:
    """Score recordings with label tools; one whose file is missing has no score.

    Metrics that compare with a reference are those beside the one that a recording states, others
    those of its file.

    Args:
        recordings: What to score; those of one file and one reference are scored once.
        peers: Tools, or metrics they give; ``dnsmos`` stands for all that DNSMOS gives.
        cache: Table that scores are read from and added to. A file that changed is scored again,
            and so is one whose reference is another or changed; and by another version of a tool
            all are.
        workers: Processes; 0 for none beside this one.
        progress: Show a bar on stderr.

    Raises:
        UnknownLabelError: No tool gives one of the peers.
        MissingExtraError: A tool is not on this machine.
        PeerCacheError: There is no place for the table.
    """
    tools = resolve_labels(peers)
    versions = {tool: LABELLERS[tool].build("float32").version for tool in tools}
    table = PeerCache(cache)
    known = table.read()
    # Not path.is_file(), which raises where a name is too long.
    unique = {by_reference(r): r for r in recordings if os.path.isfile(r.audio_path)}
    keys = {stated: _key(recording) for stated, recording in unique.items()}
    wanted: dict[str, Recording] = {}
    for (path, reference), key in keys.items():
        # Beside a reference that is not there, which is a failure, it has the key that it has
        # beside none, which is no failure.
        if reference is not None or key not in wanted:
            wanted[key] = replace(
                unique[path, reference],
                uid=key,
                metrics={
                    metric: score
                    for version in versions.values()
                    for metric, score in known.get(_row_key(key, version), {}).items()
                },
                meta={"reference_path": reference},
            )
    missing: Mapping[str, Mapping[str, int]] = {}
    metrics = [metric for tool in tools for metric in LABELLERS[tool].metrics]
    if any(metric not in row.metrics for row in wanted.values() for metric in metrics):
        labelled, summary = _label(
            list(wanted.values()), versions, table=table, workers=workers, progress=progress
        )
        wanted.update({row.uid: row for row in labelled})
        missing = summary.missing
    rows = {stated: wanted[key] for stated, key in keys.items()}
    shown = dict.fromkeys(metric for peer in peers for metric in _metrics_of(peer))
    return PeerScores(
        predictors=[_predictor(metric, rows) for metric in shown],
        failures=[each for peer in dict.fromkeys(peers) for each in _failures(peer, rows)],
        missing=missing,
    )


def _label(
    recordings: Sequence[Recording],
    versions: Mapping[str, str],
    *,
    table: PeerCache,
    workers: int,
    progress: bool,
) -> tuple[list[Recording], LabelSummary]:
    made_by = [f"{tool} {version}" for tool, version in versions.items()]
    with table.workplace([*made_by, *(recording.uid for recording in recordings)]) as folder:
        request, answer = folder / "request.jsonl", folder / "answer.jsonl"
        answer.unlink(missing_ok=True)
        write_manifest(request, recordings)
        try:
            summary = label_manifest(
                request, answer, labels=list(versions), workers=workers, progress=progress
            )
            labelled = read_manifest(answer)
        except BaseException:
            # Interrupted, it may have worked for hours.
            table.add(_by_version(_finished(answer), versions))
            raise
    table.add(_by_version({row.uid: row.metrics for row in labelled}, versions))
    return labelled, summary


def _by_version(labels: Labels, versions: Mapping[str, str]) -> Labels:
    """Give each tool's scores a row of their own, which names the version that gave them."""
    rows: dict[str, dict[str, float]] = {}
    for key, metrics in labels.items():
        for tool, version in versions.items():
            found = {name: metrics[name] for name in LABELLERS[tool].metrics if name in metrics}
            if found:
                rows.setdefault(_row_key(key, version), {}).update(found)
    return rows


def _row_key(key: str, version: str) -> str:
    return f"{key} {version}"


def _finished(answer: Path) -> Labels:
    """Read what a labelling job had done when it was stopped."""
    path = answer.with_name(answer.name + ".part.jsonl")
    if not path.exists():
        return {}
    with PartFile(path, tools={}) as part:
        return {uid: outcome.metrics for uid, outcome in part.outcomes.items()}


def _key(recording: Recording) -> str:
    paths = [recording.audio_path, Path(recording.meta.get("reference_path") or "")]
    return " ".join(file_key(path) for path in paths if os.path.isfile(path))


def _failures(peer: str, rows: Rows) -> list[tuple[Path, str]]:
    metrics = _metrics_of(peer)
    scored_some = any(metric in row.metrics for row in rows.values() for metric in metrics)
    reason_by_path: dict[Path, str] = {}
    for (path, _), row in rows.items():
        errors = row.meta.get("label_errors", {})
        reasons = [errors[metric] for metric in metrics if metric in errors]
        if reasons and not (reasons[0] == NO_REFERENCE and scored_some):
            reason_by_path.setdefault(path, f"{peer}: {reasons[0]}")
    return list(reason_by_path.items())


def _predictor(metric: str, rows: Rows) -> ScorePredictor:
    title = METRICS[metric].title
    scores = {stated: row.metrics[metric] for stated, row in rows.items() if metric in row.metrics}
    if METRICS[metric].needs_reference:
        return ScorePredictor(title, scores, metric=metric, key=by_reference)
    by_path = {path: score for (path, _), score in scores.items()}
    return ScorePredictor(title, by_path, metric=metric)


def _metrics_of(peer: str) -> tuple[str, ...]:
    return LABELLERS[peer].metrics if peer in LABELLERS else (peer,)
