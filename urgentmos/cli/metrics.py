"""``urgentmos metrics``: the table of metrics."""

from typing import Annotated

import typer

from urgentmos.metrics import METRICS, Metric


def metrics(
    model: Annotated[
        str, typer.Option(help="Model whose metrics are marked: a name, a folder or a Hub id.")
    ] = "default",
) -> None:
    """Print every metric: name, unit, range, better direction, group, who predicts it.

    The last column says whether the model predicts the metric, the one before whether computing it
    with `urgentmos label` takes the clean reference.
    """
    from urgentmos.model.checkpoint import load_model
    from urgentmos.report.table import format_table

    predicted = set(load_model(model).metrics)
    columns = ["metric", "title", "unit", "range", "better", "group", "label needs", model]
    rows = [
        [*_describe(metric), "yes" if metric.name in predicted else ""]
        for metric in METRICS.values()
    ]
    typer.echo(format_table(columns, rows))


def _describe(metric: Metric) -> list[str]:
    low = "" if metric.low is None else f"{metric.low:g}"
    high = "" if metric.high is None else f"{metric.high:g}"
    return [
        metric.name,
        metric.title,
        metric.unit,
        f"{low}…{high}",
        "higher" if metric.higher_is_better else "lower",
        metric.group,
        "reference" if metric.needs_reference else "",
    ]
