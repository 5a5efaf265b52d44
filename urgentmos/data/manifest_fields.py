"""Fields of manifests and label tables: their checks, and the public names of metrics."""

import difflib
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from urgentmos.metrics import METRICS, UnknownMetricError, get_metric

EXTRA_METRIC_PREFIXES = ("mos_", "sigmos_")
"""Public manifests carry further dimensions under these prefixes; they are kept, not predicted."""

_MAX_FLOAT = sys.float_info.max


class ManifestError(ValueError):
    """A manifest or label table breaks its format; the message names file, line and field."""


def parse_metrics(metrics: object, *, where: str) -> dict[str, float]:
    """Read an object of numbers by public name: labels by metric, without the missing ones."""
    if not isinstance(metrics, dict):
        raise wrong_value("metrics", "an object", metrics, where=where)
    values: dict[str, float] = {}
    for public_name, value in metrics.items():
        name = parse_metric_name(public_name, where=where)
        if name in values:
            raise ManifestError(f"{where}: metrics: {name!r} is given under two names")
        values[name] = math.nan if value is None else parse_number(value, f"metrics.{name}", where)
    return without_missing(values)


def parse_metric_name(name: str, *, where: str) -> str:
    """Give a metric its name in memory; further dimensions of public manifests keep theirs."""
    try:
        return get_metric(name).name
    except UnknownMetricError as error:
        if name.startswith(EXTRA_METRIC_PREFIXES):
            return name
        raise ManifestError(f"{where}: metrics: {error}") from error


def public_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Give labels the names of public files; a missing one is left out."""
    return {
        (METRICS[name].manifest_name if name in METRICS else name): value
        for name, value in metrics.items()
        if not math.isnan(value)
    }


def without_missing(metrics: Mapping[str, float]) -> dict[str, float]:
    """Leave out what is NaN."""
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def check_fields(
    record: Mapping[str, Any], *, known: Sequence[str], optional: Sequence[str], where: str
) -> None:
    """Refuse a line that lacks a field or has one of its own; the nearest known one is named."""
    for name in known:
        if name not in record and name not in optional:
            rated = "; a rating on a five-point scale stands in metrics.mos_overall"
            raise ManifestError(
                f"{where}: field {name!r} is missing; expected {', '.join(known)}, "
                f"got {', '.join(record) or 'none'}{rated if 'rating' in record else ''}"
            )
    for name in record:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "put it under 'meta'"
            raise ManifestError(f"{where}: unknown field {name!r}; {hint}")


def parse_text(value: object, name: str, where: str) -> str:
    """Take a non-empty string."""
    if not isinstance(value, str) or not value:
        raise wrong_value(name, "a non-empty string", value, where=where)
    return value


def parse_number(value: object, name: str, where: str) -> float:
    """Take a finite number; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MAX_FLOAT:
        raise wrong_value(name, "a finite number", value, where=where)
    return float(value)


def parse_duration(value: object, name: str, where: str) -> float:
    """Take a number of seconds above 0."""
    duration = parse_number(value, name, where)
    if not duration > 0:
        raise wrong_value(name, "seconds above 0", value, where=where)
    return duration


def wrong_value(name: str, expected: str, got: object, *, where: str) -> ManifestError:
    """Make the error that says where, which field, what was expected, and what is there."""
    return ManifestError(f"{where}: {name}: expected {expected}, got {got!r} ({kind_of(got)})")


def kind_of(value: object) -> str:
    """Name the kind of a value."""
    return type(value).__name__
