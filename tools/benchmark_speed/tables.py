"""Measurements as tables on stdout."""

from collections.abc import Sequence
from typing import Any

from clips import ClipSet
from predictors import OURS, nisqa_has_weights

# Most of the predictor's time that the default model may take.
_TARGETS = {"floor": 3.0, "distill_mos": 1 / 10, "dnsmos": 1 / 30, "nisqa": 1 / 3}


def print_times(results: dict[str, Any], sets: Sequence[ClipSet]) -> None:
    """Print wall and CPU time by length and rate."""
    _print_measure(results, sets, "wall", "Milliseconds per second of audio", 1000.0)
    _print_measure(results, sets, "cpu", "CPU milliseconds per second of audio", 1000.0)
    if "nisqa" in results and not nisqa_has_weights():
        print("\nNISQA: its network as torchmetrics defines it, with random weights (not fetched)")


def print_peaks(results: dict[str, Any], sets: Sequence[ClipSet]) -> None:
    """Print peak memory by length and rate."""
    _print_measure(results, sets, "peak_mib", "Peak memory of the process, MiB", 1.0)


def print_ratios(results: dict[str, Any]) -> None:
    """Print the share of each other predictor's time that our models take."""
    measured = _measured(results)
    ours = {name: times for name, times in measured.items() if name.split()[0] in OURS}
    others = {name: times for name, times in measured.items() if name not in ours}
    if not others:
        return
    for name, times_by_set in ours.items():
        print(f"\nTime of {name} as a share of theirs")
        print(_line("", others))
        for title, times in times_by_set.items():
            shares = [
                f"{times['wall'] / other[title]['wall']:.3f}" if title in other else "-"
                for other in others.values()
            ]
            print(_line(title, shares))
        targets = [f"{_TARGETS[other]:.3f}" if other in _TARGETS else "" for other in others]
        print(_line("at most", targets))


def print_loss_costs(results: dict[str, Any]) -> None:
    """Print time and memory of losses and steps, and the losses' shares of a step's CPU time."""
    measured = {name: cost for name, cost in results.items() if "error" not in cost}
    steps = {name: cost for name, cost in measured.items() if name.startswith("step")}
    print("\n== Forward and backward, per second of audio")
    print(
        f"{'':<24}{'ms':>10}{'CPU ms':>10}{'MiB':>10}"
        + "".join(f"{'of ' + step:>28}" for step in steps)
    )
    for name, cost in measured.items():
        shares = "".join(
            f"{'' if name in steps else format(cost['cpu'] / step['cpu'], '.2f'):>28}"
            for step in steps.values()
        )
        numbers = (1000 * cost["wall"], 1000 * cost["cpu"], cost["peak_mib"])
        print(f"{name:<24}" + "".join(f"{number:>10.1f}" for number in numbers) + shares)


def _print_measure(
    results: dict[str, Any], sets: Sequence[ClipSet], kind: str, title: str, scale: float
) -> None:
    measured = _measured(results)
    print(f"\n{title}")
    print(_line("", measured))
    for clips in sets:
        cells = [times.get(clips.title, {}).get(kind) for times in measured.values()]
        numbers = ["-" if cell is None else f"{scale * cell:.1f}" for cell in cells]
        print(_line(clips.title, numbers))


def _measured(results: dict[str, Any]) -> dict[str, Any]:
    return {name: result["times"] for name, result in results.items() if "times" in result}


def _line(title: str, cells: Sequence[str] | dict[str, Any]) -> str:
    return f"{title:<16}" + "".join(f"{cell:>16}" for cell in cells)
