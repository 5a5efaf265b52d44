"""What a labelling job gave: counts, reasons and the tools behind the numbers."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from urgentmos.data.manifest import ManifestError, Recording
from urgentmos.labels.labeller import NO_REFERENCE
from urgentmos.name_bytes import JSON_ERRORS
from urgentmos.whole_file import write_whole

_REMEDY = "it tells what the labels of the manifest beside it come from: repair it or take it away"
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class LabelSummary:
    """What a labelling job gave.

    Attributes:
        tools: Version of the tool behind each label.
        labelled: Recordings that have each metric.
        missing: Recordings without it although it was asked for, by reason, for each metric.
            Reasons that differ in numbers alone count as one, in the first one's words.
        late_s: By system, how late its recordings are against their references, as
            `urgentmos.labels.lateness` found some of them; 0 where they are not.
    """

    tools: dict[str, str]
    labelled: dict[str, int]
    missing: dict[str, dict[str, int]]
    late_s: dict[str, float] = field(default_factory=dict)

    def without_reference(self, metric: str) -> int:
        """Count the recordings that cannot have a metric, since there is nothing to compare."""
        return self.missing.get(metric, {}).get(NO_REFERENCE, 0)

    def failures(self, metric: str) -> dict[str, int]:
        """Count the recordings on which a metric failed, by reason, the most common first."""
        reasons = self.missing.get(metric, {})
        return {reason: count for reason, count in reasons.items() if reason != NO_REFERENCE}


def summarise(
    recordings: Sequence[Recording],
    *,
    metrics: Sequence[str],
    tools: Mapping[str, str],
    late_s: Mapping[str, float] | None = None,
) -> LabelSummary:
    """Count the labels of a manifest, and the reasons in ``meta.label_errors``."""
    missing = {}
    for metric in metrics:
        reasons = [
            recording.meta["label_errors"][metric]
            for recording in recordings
            if metric in recording.meta.get("label_errors", {})
        ]
        if reasons:
            missing[metric] = _count_by_kind(reasons)
    labelled = {
        metric: sum(metric in recording.metrics for recording in recordings) for metric in metrics
    }
    return LabelSummary(dict(tools), labelled, missing, late_s=dict(late_s or {}))


def _count_by_kind(reasons: Sequence[str]) -> dict[str, int]:
    # A thousand recordings that are too short have a thousand durations.
    first: dict[str, str] = {}
    counts = Counter(first.setdefault(_NUMBER.sub("0", reason), reason) for reason in reasons)
    return dict(counts.most_common())


def read_summary(path: Path) -> dict[str, Any]:
    """Read the summary beside a manifest that was labelled before; nothing where there is none.

    Raises:
        ManifestError: It is no summary.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ManifestError(f"{path}: not JSON: {error}; {_REMEDY}") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ManifestError(f"{path}: expected tools and counts by label; {_REMEDY}")
    return content


def write_summary(path: Path, summary: LabelSummary, *, earlier: Mapping[str, Any]) -> None:
    """Write a summary as JSON, beside what is known of labels the manifest already had.

    Args:
        path: File to write.
        summary: This job's.
        earlier: Summary of the input manifest, as `read_summary` gives it.
    """
    content = dict(earlier)
    for name, values in asdict(summary).items():
        content[name] = {**content.get(name, {}), **values}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, text, errors=JSON_ERRORS)
