"""Time the default model beside other predictors: same files, same run, same threads.

    pip install '.[labels,encoders]'
    python tools/benchmark_speed --quick                # about two minutes
    python tools/benchmark_speed                        # everything, about an hour
    python tools/benchmark_speed --lengths 5 --rates 16000 --only floor urgentmos

Every predictor runs in a process of its own, held to ``--threads`` CPU cores. Each scores one clip
first (of up to a minute), then the set of files ``--repeats`` times: warm times, and the best
counts. Every predictor is given files and reads them itself; ``floor`` reads and resamples them and
does no more. ``urgentmos`` is the model of ``--model``, ``accurate`` the accurate one, ``_bf16``
either in bfloat16. Distill-MOS, DNSMOS, NISQA, UTMOS and SCOREQ take one recording at a time, as
their packages do; UTMOS and SCOREQ are fetched at their first use, and left out where they cannot
be.
``wavlm`` is the published variant F1C1M5 (configs/urgentmos/f1c1m5_ref.yaml), its weights random.

Then the cost of a loss, forward and backward, per second of audio, beside Distill-MOS used the same
way and as a share of a training step of two enhancement networks; and cold starts.

The audio is synthesised here: what is in it does not change the time that any of these take.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from clips import ClipSet, make_clips
from cold_starts import cold_starts
from loss_cost import LOSSES, measure_losses
from predictors import PREDICTORS
from tables import print_loss_costs, print_peaks, print_ratios, print_times
from warm_times import measure_predictor

SECONDS_PER_SET = 100.0
QUICK_SECONDS_PER_SET = 20.0


def main() -> None:
    """Print times, ratios, peak memory, the cost of a loss and cold starts."""
    options = _options()
    results: dict[str, Any] = {"warm": {}, "loss": {}, "cold": {}}
    with tempfile.TemporaryDirectory() as scratch:
        sets = [
            make_clips(Path(scratch), length_s=length, sample_rate=rate, total_s=options.seconds)
            for length in options.lengths
            for rate in options.rates
            if options.only
        ]
        for threads in options.threads if sets else []:
            results["warm"][threads] = _warm(sets, options, threads)
        if not options.no_loss:
            results["loss"] = measure_losses(
                model=options.model,
                batch=options.loss_batch,
                length_s=options.loss_seconds,
                threads=max(options.threads),
                repeats=options.repeats,
            )
            print_loss_costs(results["loss"])
        if not options.no_cold_start:
            results["cold"] = cold_starts(Path(scratch), model=options.model)
    for what, seconds in results["cold"].items():
        print(f"{what}: {seconds:.2f} s")
    if options.output:
        options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _warm(sets: list[ClipSet], options: argparse.Namespace, threads: int) -> dict[str, Any]:
    results = {}
    for name in options.only:
        # The number of decoding threads is an option of ours alone.
        for workers in options.workers if name == "urgentmos" else [None]:
            title = name if workers is None or len(options.workers) == 1 else f"{name} -w{workers}"
            print(f"{title}, {threads} threads …", file=sys.stderr, flush=True)
            results[title] = measure_predictor(
                name,
                sets,
                model=options.model,
                workers=workers,
                threads=threads,
                repeats=options.repeats,
            )
    print(f"\n== {threads} threads")
    print_times(results, sets)
    print_peaks(results, sets)
    print_ratios(results)
    return results


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tools/benchmark_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="default", help="name, folder or Hub id")
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="CPU cores, in turn")
    parser.add_argument("--workers", type=int, nargs="+", default=[2], help="decoders, in turn")
    parser.add_argument("--lengths", type=float, nargs="+", default=[1, 5, 30, 600], metavar="S")
    parser.add_argument("--rates", type=int, nargs="+", default=[16000, 48000], metavar="HZ")
    parser.add_argument(
        "--only", nargs="*", choices=PREDICTORS, default=list(PREDICTORS), help="may be none"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS_PER_SET, help="audio in a set, at least one file"
    )
    parser.add_argument("--quick", action="store_true", help="5 s clips at 16 kHz, 20 s in all")
    parser.add_argument("--no-cold-start", action="store_true")
    parser.add_argument("--no-loss", action="store_true", help=f"leave out {', '.join(LOSSES)}")
    parser.add_argument("--loss-batch", type=int, default=4, help="recordings in a training step")
    parser.add_argument("--loss-seconds", type=float, default=4.0, help="length of each")
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    options = parser.parse_args()
    if options.quick:
        options.lengths, options.rates = [5.0], [16000]
        options.seconds = QUICK_SECONDS_PER_SET
    # Shorter clips first: what a library keeps after a long one must not count for a short one.
    options.lengths.sort()
    return options


if __name__ == "__main__":
    main()
