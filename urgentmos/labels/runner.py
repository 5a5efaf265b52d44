"""Label every recording of a manifest: in parallel, and resumable at any moment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from urgentmos.data.hashing import lot
from urgentmos.data.manifest import ManifestError, Recording, read_manifest, write_manifest
from urgentmos.extras import MissingExtraError
from urgentmos.labels.catalogue import LABELLERS, resolve_labels
from urgentmos.labels.lateness import late_systems
from urgentmos.labels.part_file import PartFile
from urgentmos.labels.processes import label_tasks
from urgentmos.labels.summary import LabelSummary, read_summary, summarise, write_summary
from urgentmos.labels.worker import Outcome, Task, file_state
from urgentmos.precision import Precision
from urgentmos.terminal_size import bar_size
from urgentmos.whole_file import whole_file


class ShareError(ValueError):
    """A share is outside 0 to 1, or belongs to no wanted label."""


def label_manifest(
    manifest: str | Path,
    output: str | Path,
    *,
    labels: Sequence[str],
    workers: int = 1,
    shares: Mapping[str, float] | None = None,
    precision: Precision = "float32",
    where: Callable[[Recording], bool] | None = None,
    progress: bool = True,
) -> LabelSummary:
    """Add labels to the recordings of a manifest.

    Labels that the manifest already holds are kept. Finished recordings go to
    ``OUTPUT.part.jsonl`` at once; the same call after a kill goes on from there and tries again
    what had failed, or was computed of other files. At the end ``output`` holds every recording in
    input order, with the reason for each missing label in ``meta.label_errors``, and
    ``OUTPUT.labels.json`` the tools.

    Args:
        manifest: Recordings; intrusive labels read ``meta.reference_path``.
        output: Manifest to write; it must not exist yet.
        labels: Names of `LABELLERS`, or of metrics they give.
        workers: Processes of one thread each; 0 labels in this process.
        shares: Share of the recordings, 0 to 1, that gets a label; all of them where unnamed. Which
            ones depends on their uid alone, and a larger share contains a smaller one.
        precision: Arithmetic of Distill-MOS.
        where: Which recordings to label; the others are passed on as they are.
        progress: Show a bar on standard error.

    Returns:
        Counts, reasons and tool versions, and which systems seem late against their references.

    Raises:
        UnknownLabelError: No tool gives one of the labels.
        ShareError: A share is outside 0 to 1, or belongs to no wanted label.
        FileExistsError: The output is already there.
        FileNotFoundError: There is no manifest, or no folder for the output.
        ManifestError: The manifest, or the summary beside it, breaks its format, or ``where`` holds
            for none of it.
        MissingExtraError: A tool, or its network, is not on this machine.
        PartFileError: The part file comes from other tool versions.
        FileLockedError: Another run is writing this output.
    """
    manifest, output = Path(manifest), Path(output)
    names = resolve_labels(labels)
    share_by_label = _check_shares(shares or {}, names)
    if output.exists():
        raise FileExistsError(
            f"{output} exists; label it in its turn (what it holds is kept), or name another output"
        )
    if not output.parent.is_dir():
        raise FileNotFoundError(f"the folder of {str(output)!r} does not exist")
    tools = {name: _version(name, precision) for name in names}
    recordings = read_manifest(manifest)
    earlier = read_summary(_summary_path(manifest))
    chosen = [recording for recording in recordings if where is None or where(recording)]
    if recordings and not chosen:
        raise ManifestError(
            f"{manifest}: 'where' holds for none of its {len(recordings)} recordings"
        )
    part_path = output.with_name(output.name + ".part.jsonl")
    with PartFile(part_path, tools=tools) as part:
        wanted = _plan(chosen, names, share_by_label)
        left = [_left(task, part.outcomes) for task in wanted.values()]
        tasks = [task for task in left if task.labels]
        outcomes = label_tasks(tasks, workers=workers, precision=precision)
        for outcome in tqdm(
            outcomes,
            total=len(chosen),
            initial=len(chosen) - len(tasks),
            unit="file",
            mininterval=1.0,
            disable=not progress,
            **bar_size(),
        ):
            part.append(outcome)
        for recording in recordings:
            if recording.uid in wanted:
                _apply(recording, _found(wanted[recording.uid], part.outcomes))
        metrics = dict.fromkeys(metric for name in names for metric in LABELLERS[name].metrics)
        aligned = any(LABELLERS[name].needs_reference and LABELLERS[name].aligned for name in names)
        summary = summarise(
            recordings,
            metrics=list(metrics),
            tools=tools,
            late_s=late_systems(chosen) if aligned else None,
        )
        write_summary(_summary_path(output), summary, earlier=earlier)
        with whole_file(output) as unfinished:
            write_manifest(unfinished, recordings)
    # A run that began since the lock was given up may have removed it.
    part_path.unlink(missing_ok=True)
    return summary


def in_share(uid: str, share: float) -> bool:
    """Decide by a hash of its uid whether a recording belongs to a share of all recordings."""
    return lot(uid) < share


def _check_shares(shares: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    checked: dict[str, float] = {}
    for label, share in shares.items():
        (name,) = resolve_labels([label])
        if name not in names:
            raise ShareError(f"a share is given for {label!r}, which is not among the labels")
        if not 0.0 <= share <= 1.0:
            raise ShareError(f"share of {label!r}: expected 0 to 1, got {share}")
        checked[name] = share
    return checked


def _version(label: str, precision: Precision) -> str:
    tool = LABELLERS[label]
    if not tool.installed:
        missing = ", ".join(tool.modules)
        raise MissingExtraError(f"label {label!r} needs {missing}; install with: {tool.install}")
    return tool.build(precision).version


def _plan(
    recordings: Sequence[Recording],
    names: Sequence[str],
    shares: Mapping[str, float],
) -> dict[str, Task]:
    """State by uid what is wanted of recordings that lack some of it."""
    wanted = {}
    for recording in recordings:
        labels = tuple(
            name
            for name in names
            if not recording.metrics.keys() >= set(LABELLERS[name].metrics)
            and in_share(recording.uid, shares.get(name, 1.0))
        )
        if labels:
            audio, reference = str(recording.audio_path), recording.meta.get("reference_path")
            inputs = " ".join(file_state(path) for path in (audio, reference) if path is not None)
            wanted[recording.uid] = Task(recording.uid, audio, reference, labels, inputs)
    return wanted


def _left(task: Task, outcomes: Mapping[str, Outcome]) -> Task:
    have = _found(task, outcomes).metrics.keys()
    labels = (name for name in task.labels if not have >= set(LABELLERS[name].metrics))
    return replace(task, labels=tuple(labels))


def _found(task: Task, outcomes: Mapping[str, Outcome]) -> Outcome:
    """Take what is known of a task: computed of these files, by the tools asked for now."""
    found = outcomes.get(task.uid)
    if found is None or found.inputs != task.inputs:
        return Outcome(task.uid)
    asked = {metric for label in task.labels for metric in LABELLERS[label].metrics}
    return replace(
        found,
        metrics={name: value for name, value in found.metrics.items() if name in asked},
        errors={name: why for name, why in found.errors.items() if name in asked},
    )


def _apply(recording: Recording, outcome: Outcome) -> None:
    # A tool gives all its metrics; those that the manifest came with stand.
    recording.metrics = outcome.metrics | recording.metrics
    errors = {**recording.meta.get("label_errors", {}), **outcome.errors}
    errors = {name: why for name, why in errors.items() if name not in recording.metrics}
    recording.meta.pop("label_errors", None)
    if errors:
        recording.meta["label_errors"] = errors


def _summary_path(manifest: Path) -> Path:
    return manifest.with_name(manifest.name + ".labels.json")
