from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from urgentmos.metrics import METRICS

Invoke = Callable[..., Result]


def test_the_table_has_every_metric_and_marks_those_of_the_model(
    invoke: Invoke, tiny_model_dir: Path
) -> None:
    result = invoke("metrics", "--model", tiny_model_dir)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(METRICS)
    marked = [line.split()[0] for line in lines if line.endswith("yes")]
    assert marked == ["pesq", "lsd", "sdr", "mos", "estoi", "lps"]
