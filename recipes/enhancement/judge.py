"""Judge finished runs on unseen speakers and noises, and print the tables of the README.

Each run is measured with PESQ, ESTOI, SI-SDR, DNSMOS and Distill-MOS themselves, and scored by the
assessor, whose scores the losses used: where they rise and the measured ones do not, it was gamed.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from enhancer import Enhancer, enhance, load_enhancer, si_sdr
from mixtures import Waveform, fixed_mixtures, load_parts, make_parser

import urgentmos
from urgentmos.audio import SAMPLE_RATE
from urgentmos.labels.catalogue import LABELLERS
from urgentmos.simulate.levels import with_level_of
from urgentmos.whole_file import write_whole

LABELS = ("pesq", "estoi", "dnsmos", "distill_mos")
SHOWN = ("pesq", "estoi", "si_sdr", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "distill_mos")
WANTED_GAIN = {"dnsmos_ovrl": 0.10, "distill_mos": 0.10}
ALLOWED_LOSS = {"pesq": 0.02, "estoi": 0.02}

Scores = dict[str, float]


class Judge:
    """Measures and scores networks on the same mixtures."""

    def __init__(
        self, mixtures: list[tuple[Waveform, Waveform]], model: str, *, device: str = "cpu"
    ) -> None:
        """Load the tools and the assessor."""
        self.device = device
        self._mixtures = mixtures
        self._tools = [LABELLERS[name].build("float32") for name in LABELS]
        self._assessor = urgentmos.load(model, device=device)
        self.model_hash = self._assessor.model_hash

    def enhanced(self, network: Enhancer | None) -> list[Waveform]:
        """Enhance the mixtures; None gives them as they are.

        All come out at the speech level of the clean recording: none wins by being louder.
        """
        recordings = []
        for noisy, clean in self._mixtures:
            recording = noisy if network is None else enhance(network, noisy)
            recordings.append(with_level_of(recording, clean))
        return recordings

    def measure(self, recordings: list[Waveform]) -> Scores:
        """Give the mean of each metric itself."""
        values = defaultdict(list)
        for recording, (_, clean) in zip(recordings, self._mixtures, strict=True):
            for tool in self._tools:
                for name, value in tool.label(recording, clean).items():
                    values[name].append(value)
            pair = (torch.from_numpy(waveform)[None] for waveform in (recording, clean))
            values["si_sdr"].append(float(si_sdr(*pair)))
        return {name: float(np.mean(of_all)) for name, of_all in values.items()}

    def predict(self, recordings: list[Waveform]) -> Scores:
        """Give the mean of each of the assessor's scores."""
        values = defaultdict(list)
        for recording in recordings:
            scores = self._assessor.score(torch.from_numpy(recording), SAMPLE_RATE)
            for name, value in scores.items():
                values[name].append(float(value))
        return {name: float(np.mean(of_all)) for name, of_all in values.items()}


def judge_all(judge: Judge, work: Path) -> dict[str, list[dict[str, Scores]]]:
    """Measure and score every finished run, and the noisy speech; what is there already is kept.

    Returns:
        ``measured`` and ``predicted`` scores of each way, one entry per seed.
    """
    judged: dict[str, list[dict[str, Scores]]] = defaultdict(list)
    folders = sorted((path.parent for path in work.glob("*/run.json")), key=_order)
    for folder in (work / "noisy", *folders):
        is_run = folder.name != "noisy"
        network = load_enhancer(folder, device=judge.device) if is_run else None
        recordings = judge.enhanced(network)
        folder.mkdir(exist_ok=True)
        measured = folder / f"measured-{len(recordings)}.json"
        predicted = folder / f"predicted-{len(recordings)}-{judge.model_hash[:8]}.json"
        judged[folder.name.rpartition("-")[0] or folder.name].append(
            {
                "measured": _kept(measured, judge.measure, recordings),
                "predicted": _kept(predicted, judge.predict, recordings),
            }
        )
    return judged


def _order(folder: Path) -> tuple[bool, str]:
    return not folder.name.startswith("start-"), folder.name


def _kept(
    path: Path, compute: Callable[[list[Waveform]], Scores], recordings: list[Waveform]
) -> Scores:
    if not path.exists():
        text = json.dumps(compute(recordings), indent=1) + "\n"
        write_whole(path, text)
    scores: Scores = json.loads(path.read_text(encoding="utf-8"))
    return scores


def print_measured(judged: dict[str, list[dict[str, Scores]]]) -> None:
    """Print the mean and the standard deviation over seeds of each metric."""
    print_row("", *SHOWN)
    print_row(*["---"] * (len(SHOWN) + 1))
    for way, runs in judged.items():
        print_row(way, *(spread([run["measured"][name] for run in runs]) for name in SHOWN))


def print_differences(judged: dict[str, list[dict[str, Scores]]], baseline: str) -> None:
    """Print how far each way is from the baseline, seed by seed, and whether that is enough."""
    print_row(f"against {baseline}", *SHOWN)
    print_row(*["---"] * (len(SHOWN) + 1))
    verdicts = []
    for way, runs in judged.items():
        if way == baseline or len(runs) != len(judged[baseline]):
            continue
        differences = {
            name: [
                run["measured"][name] - base["measured"][name]
                for run, base in zip(runs, judged[baseline], strict=True)
            ]
            for name in SHOWN
        }
        print_row(way, *(spread(values, sign="+") for values in differences.values()))
        means = {name: statistics.fmean(values) for name, values in differences.items()}
        gained = any(means[name] >= gain for name, gain in WANTED_GAIN.items())
        kept = all(means[name] >= -loss for name, loss in ALLOWED_LOSS.items())
        verdicts.append(f"{way}: {'reached' if gained and kept else 'not reached'}")
    print("\n" + "; ".join(verdicts))


def print_gaming(judged: dict[str, list[dict[str, Scores]]]) -> None:
    """Print the change from the start that the assessor sees, and the one that is measured."""
    predicted = judged["start"][0]["predicted"]
    names = [name for name in ("mos", *SHOWN) if name in predicted]
    print_row("change from the start: seen / measured", *names)
    print_row(*["---"] * (len(names) + 1))
    for way, runs in judged.items():
        if way in {"noisy", "start"}:
            continue
        cells = [
            " / ".join(
                f"{_mean(runs, kind, name) - _mean(judged['start'], kind, name):+.2f}"
                for kind in ("predicted", "measured")
                if name in runs[0][kind]
            )
            for name in names
        ]
        print_row(way, *cells)


def _mean(runs: list[dict[str, Scores]], kind: str, name: str) -> float:
    return statistics.fmean(run[kind][name] for run in runs)


def print_monitor(work: Path) -> None:
    """Print what the monitor said of each run."""
    for path in sorted(work.glob("*/run.json")):
        readings = json.loads(path.read_text(encoding="utf-8")).get("monitor", [])
        if readings:
            alarms = [
                f"step {reading['step']}: "
                + ", ".join(f"{name} -{loss:.2f}" for name, loss in reading["parted"].items())
                for reading in readings
                if reading["parted"]
            ]
            print(f"{path.parent.name}: {'; '.join(alarms) or 'nothing parted'}")


def print_row(*cells: str) -> None:
    """Print one row of a Markdown table."""
    print("| " + " | ".join(cells) + " |")


def spread(values: Sequence[float], *, sign: str = "") -> str:
    """Write the mean, and the standard deviation where there are several values."""
    mean = f"{statistics.fmean(values):{sign}.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def main() -> None:
    """Judge and print."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--model", default="default", help="the assessor")
    parser.add_argument("--test", type=int, default=40, help="mixtures to judge on")
    parser.add_argument("--baseline", default="si_sdr")
    options = parser.parse_args()

    test = load_parts(options.sources, options.audio, wanted=["test"])["test"]
    mixtures = fixed_mixtures(test, count=options.test)
    judge = Judge(mixtures, options.model, device=options.device)
    judged = judge_all(judge, options.work)
    print_measured(judged)
    print()
    print_differences(judged, options.baseline)
    print()
    print_gaming(judged)
    print()
    print_monitor(options.work)


if __name__ == "__main__":
    main()
