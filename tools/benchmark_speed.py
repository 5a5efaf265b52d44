"""Time the default model beside Distill-MOS, DNSMOS and NISQA: same files, same run, same threads.

    pip install 'urgentmos[labels]' torchmetrics
    python tools/benchmark_speed.py --quick            # about two minutes
    python tools/benchmark_speed.py                    # everything, about half an hour
    python tools/benchmark_speed.py --lengths 5 --rates 16000 --only floor urgentmos

Every predictor runs in a process of its own, held to ``--threads`` CPU cores. Each scores a short
clip first, then each set of files ``--repeats`` times: warm times, and the best counts. Every
predictor is given files and reads them itself; ``floor`` reads and resamples them and does no more.
Distill-MOS, DNSMOS and NISQA take one recording at a time, as their packages do.

The audio is synthesised here: what is in it does not change the time that any of these take.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

Score = Callable[[Sequence[Path]], None]

SECONDS_PER_SET = 100.0
QUICK_SECONDS_PER_SET = 20.0
# torchmetrics refuses longer recordings: 1300 segments, 40 ms apart.
NISQA_MAX_S = 52.0
# Most of the predictor's time that the default model may take.
TARGETS = {"distill_mos": 1 / 10, "dnsmos": 1 / 30, "nisqa": 1 / 3}
# Architecture of the NISQA v2.0 release, from config/train_nisqa_cnn_sa_ap.yaml in its repository.
NISQA_SETTINGS = {
    "ms_fmax": 20000, "ms_n_fft": 4096, "ms_hop_length": 0.01, "ms_win_length": 0.02,
    "ms_n_mels": 48, "ms_seg_length": 15, "ms_seg_hop_length": 4, "ms_max_segments": 1300,
    "cnn_c_out_1": 16, "cnn_c_out_2": 32, "cnn_c_out_3": 64, "cnn_kernel_size": (3, 3),
    "cnn_dropout": 0.2, "cnn_pool_1": [24, 7], "cnn_pool_2": [12, 5], "cnn_pool_3": [6, 3],
    "td_sa_d_model": 64, "td_sa_nhead": 1, "td_sa_num_layers": 2, "td_sa_h": 64,
    "td_sa_dropout": 0.1, "pool_att_h": 128, "pool_att_dropout": 0.0,
}  # fmt: skip


def main() -> None:
    """Print times, ratios, peak memory and cold starts; optionally write them as JSON."""
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        sets = [
            make_files(Path(scratch), length_s=length, sample_rate=rate, total_s=options.seconds)
            for length in options.lengths
            for rate in options.rates
        ]
        results = {name: measure(name, sets, options) for name in options.only}
        print_times(results, sets)
        print_ratios(results)
        cold = {} if options.no_cold_start else cold_starts(Path(scratch), options)
    for what, seconds in cold.items():
        print(f"{what}: {seconds:.2f} s")
    if options.output:
        options.output.write_text(json.dumps({"warm": results, "cold": cold}, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default", help="name, folder or Hub id")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lengths", type=float, nargs="+", default=[1, 5, 30, 600], metavar="S")
    parser.add_argument("--rates", type=int, nargs="+", default=[16000, 48000], metavar="HZ")
    parser.add_argument("--only", nargs="+", choices=PREDICTORS, default=list(PREDICTORS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS_PER_SET, help="audio in a set, at least one file"
    )
    parser.add_argument("--quick", action="store_true", help="5 s clips at 16 kHz, 20 s in all")
    parser.add_argument("--no-cold-start", action="store_true")
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    options = parser.parse_args()
    if options.quick:
        options.lengths, options.rates = [5.0], [16000]
        options.seconds = QUICK_SECONDS_PER_SET
    return options


# --- audio -----------------------------------------------------------------------------------


def make_files(
    folder: Path, *, length_s: float, sample_rate: int, total_s: float
) -> dict[str, Any]:
    """Write clips of one length and rate that last ``total_s`` together, at least one."""
    rng = np.random.default_rng(0)
    paths = []
    for index in range(max(1, round(total_s / length_s))):
        path = folder / f"{length_s:g}s_{sample_rate}_{index:03d}.flac"
        soundfile.write(path, babble(length_s, sample_rate, rng), sample_rate, subtype="PCM_16")
        paths.append(path)
    return {"length_s": length_s, "sample_rate": sample_rate, "paths": paths}


def babble(length_s: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Make sound with the level, the pauses and the bandwidth of speech."""
    samples = round(length_s * sample_rate)
    times = np.arange(samples) / sample_rate
    syllables = np.clip(np.sin(2 * np.pi * 3 * times + rng.uniform(0, 6)), 0, 1)
    voice = sum(np.sin(2 * np.pi * 120 * n * times) / n for n in range(1, 20))
    return 0.1 * syllables * voice + 0.005 * rng.standard_normal(samples)


# --- predictors ------------------------------------------------------------------------------


def floor(options: argparse.Namespace) -> Score:
    """Decode and resample, nothing else."""
    from urgentmos.audio import read_audio

    def score(paths: Sequence[Path]) -> None:
        for path in paths:
            read_audio(path)

    return score


def urgentmos_all_metrics(options: argparse.Namespace) -> Score:
    """Score all metrics of the model, as ``urgentmos score`` does."""
    import urgentmos

    assessor = urgentmos.load(options.model)

    def score(paths: Sequence[Path]) -> None:
        for row in assessor.score_files(paths):
            if row.status != "ok":
                raise RuntimeError(f"{row.path} was not scored: {row.error}")

    return score


def distill_mos(options: argparse.Namespace) -> Score:
    """Run Distill-MOS as its package's documentation does."""
    import distillmos
    import torch

    from urgentmos.audio import read_audio

    model = distillmos.ConvTransformerSQAModel().eval()

    def score(paths: Sequence[Path]) -> None:
        for path in paths:
            with torch.no_grad():
                model(torch.from_numpy(read_audio(path).waveform)[None])

    return score


def dnsmos(options: argparse.Namespace) -> Score:
    """Run DNSMOS (P.835 and P.808) with ``speechmos``."""
    from speechmos import dnsmos as speechmos_dnsmos

    from urgentmos.audio import read_audio

    def score(paths: Sequence[Path]) -> None:
        for path in paths:
            speechmos_dnsmos.run(np.clip(read_audio(path).waveform, -1, 1), sr=16000)

    return score


def nisqa(options: argparse.Namespace) -> Score:
    """Run NISQA with ``torchmetrics``; without its weights, the same network with random ones."""
    import torch
    from torchmetrics.functional.audio import nisqa as torchmetrics_nisqa

    if not nisqa_has_weights():
        network = torchmetrics_nisqa._NISQADIM(NISQA_SETTINGS)
        torchmetrics_nisqa._load_nisqa_model = lambda: (network, NISQA_SETTINGS)

    def score(paths: Sequence[Path]) -> None:
        for path in paths:
            samples, sample_rate = soundfile.read(path, dtype="float32")
            torchmetrics_nisqa.non_intrusive_speech_quality_assessment(
                torch.from_numpy(samples), sample_rate
            )

    return score


def nisqa_has_weights() -> bool:
    """Tell whether NISQA's own weights are where ``torchmetrics`` keeps them."""
    return Path("~/.torchmetrics/NISQA/nisqa.tar").expanduser().exists()


PREDICTORS: dict[str, Callable[[argparse.Namespace], Score]] = {
    "floor": floor,
    "urgentmos": urgentmos_all_metrics,
    "distill_mos": distill_mos,
    "dnsmos": dnsmos,
    "nisqa": nisqa,
}


# --- measuring -------------------------------------------------------------------------------


def measure(
    name: str, sets: Sequence[dict[str, Any]], options: argparse.Namespace
) -> dict[str, Any]:
    """Time one predictor in a fresh process."""
    print(f"{name} …", file=sys.stderr, flush=True)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_here, args=(name, sets, options, sender))
    # Read by numerical libraries when they are loaded, hence before the process starts.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    process.start()
    sender.close()
    try:
        result: dict[str, Any] = receiver.recv()
    except EOFError:
        result = {"error": "its process died"}
    process.join()
    if "error" in result:
        print(f"{name} is not available: {result['error']}", file=sys.stderr)
    return result


def _measure_here(
    name: str, sets: Sequence[dict[str, Any]], options: argparse.Namespace, sender: Connection
) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    warnings.simplefilter("ignore")
    try:
        score = PREDICTORS[name](options)
    except ImportError as error:
        sender.send({"error": str(error)})
        return
    times = {}
    # Shorter clips first, so that peak memory can be told by length.
    for files in sorted(sets, key=lambda files: files["length_s"]):
        if name == "nisqa" and files["length_s"] > NISQA_MAX_S:
            continue
        score(files["paths"][:1])
        best = min(_timed(score, files["paths"]) for _ in range(options.repeats))
        times[_key(files)] = {
            **{kind: value / (files["length_s"] * len(files["paths"])) for kind, value in best},
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    sender.send({"times": times})


def _timed(score: Score, paths: Sequence[Path]) -> tuple[tuple[str, float], tuple[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    score(paths)
    return ("wall", time.perf_counter() - wall), ("cpu", time.process_time() - cpu)


def _key(files: dict[str, Any]) -> str:
    return f"{files['length_s']:g} s, {files['sample_rate'] / 1000:g} kHz"


def cold_starts(scratch: Path, options: argparse.Namespace) -> dict[str, float]:
    """Time commands from nothing: the best of three."""
    folder = scratch / "cold"
    folder.mkdir()
    make_files(folder, length_s=5.0, sample_rate=16000, total_s=500.0)
    python = [sys.executable]
    command = [*python, "-c", "from urgentmos.cli import main; main()"]
    output = str(scratch / "scores.csv")
    score = [*command, "score", str(folder), "-o", output, "--overwrite", "--model", options.model]
    commands = {
        "python -c pass": [*python, "-c", "pass"],
        "import urgentmos": [*python, "-c", "import urgentmos"],
        "urgentmos --help": [*command, "--help"],
        "urgentmos score, 100 files of 5 s": score,
    }
    return {name: min(_elapsed(words) for _ in range(3)) for name, words in commands.items()}


def _elapsed(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


# --- tables ----------------------------------------------------------------------------------


def print_times(results: dict[str, Any], sets: Sequence[dict[str, Any]]) -> None:
    """Print time and peak memory by length and rate."""
    measured = {name: result["times"] for name, result in results.items() if "times" in result}
    for kind, title, scale in (
        ("wall", "Milliseconds per second of audio", 1000.0),
        ("cpu", "CPU milliseconds per second of audio", 1000.0),
        ("peak_mib", "Peak memory so far, MiB", 1.0),
    ):
        print(f"\n{title}")
        print(_line("", measured))
        for files in sets:
            cells = [times.get(_key(files), {}).get(kind) for times in measured.values()]
            numbers = ["-" if cell is None else f"{scale * cell:.1f}" for cell in cells]
            print(_line(_key(files), numbers))
    if "nisqa" in measured and not nisqa_has_weights():
        print("\nNISQA: its network as torchmetrics defines it, with random weights (not fetched)")


def print_ratios(results: dict[str, Any]) -> None:
    """Print the share of each other predictor's time that the default model takes."""
    ours = results.get("urgentmos", {}).get("times", {})
    others = {
        name: result["times"]
        for name, result in results.items()
        if name != "urgentmos" and "times" in result
    }
    if not ours or not others:
        return
    print("\nTime of urgentmos as a share of theirs")
    print(_line("", others))
    for key, times in ours.items():
        shares = [
            f"{times['wall'] / other[key]['wall']:.3f}" if key in other else "-"
            for other in others.values()
        ]
        print(_line(key, shares))
    if any(name in TARGETS for name in others):
        targets = [f"{TARGETS[name]:.3f}" if name in TARGETS else "" for name in others]
        print(_line("at most", targets))


def _line(title: str, cells: Sequence[str] | dict[str, Any]) -> str:
    return f"{title:<16}" + "".join(f"{cell:>13}" for cell in cells)


if __name__ == "__main__":
    main()
