"""This package's trainer and scorer beside the authors': same model, same recordings, same run.

    pip install '.[train,encoders]' hydra-core omegaconf einops torchcodec
    python tools/benchmark_training.py CLONE                      # on a GPU, where there is one
    python tools/benchmark_training.py CLONE --batch 4 --seconds 3 --steps 6 --threads 1

CLONE is a clone of https://github.com/vvwangvv/URGENT-MOS. The model is UrgentMOS F1C1M5 with a
frozen WavLM base of random weights. Each side runs in a process of its own, from the same files, in
batches of ``--batch`` recordings beside as many partners, all of one length. A step is timed from
one optimizer step to the next; the median counts, after the first two. Then both score one folder
of recordings of different lengths, with the weights that the authors' trainer wrote, each as it
does by itself. Reading files is part of both; where torchcodec is not installed, soundfile reads
for the authors' code. Processor time is told beside the time that passes: with one thread it stays
right on a machine that has other things to do. On a GPU, memory is what torch allocated there, and
the model's FLOPs are told as a share of what the GPU can do, where that is known or given.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

CONFIG = Path(__file__).parents[1] / "configs" / "urgentmos" / "f1c1m5_corpus.yaml"
METRICS = ("mos_overall", "utmos", "distill_mos", "nisqa_mos", "scoreq")
# Half of what https://www.nvidia.com/en-us/data-center/h200/ states, which is for sparse matrices.
# Names are those that CUDA gives: the PCIe and NVL versions are slower.
PEAK_TFLOPS = {
    ("NVIDIA H100 80GB HBM3", "bfloat16"): 989.0,
    ("NVIDIA H200", "bfloat16"): 989.0,
}
"""What devices can do, by name and precision."""
# Steps in which memory is still being allocated and kernels chosen.
WARM_UP_STEPS = 2


def main() -> None:
    """Print iterations per second, peak memory and real-time factors, with their ratios."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        alone(make_material, folder, options)
        trained = {name: alone(train, folder, options) for name, train in TRAINERS.items()}
        show_training(trained["ours"], trained["theirs"], options)
        sys.stdout.flush()
        scored = {name: alone(score, folder, options) for name, score in SCORERS.items()}
    for name, what in (("wall", "seconds"), ("cpu", "processor seconds")):
        show(f"scoring, {what} per second", scored["ours"][name], scored["theirs"][name])
    if options.output:
        text = json.dumps({"training": trained, "scoring": scored}, indent=2)
        options.output.write_text(text + "\n")


def show_training(ours: Any, theirs: Any, options: argparse.Namespace) -> None:
    """Print what training took on each side."""
    print(
        f"{ours['device']}, {options.threads} threads, {options.precision}; batches of "
        f"{options.batch} recordings and {options.batch} partners of {options.seconds:g} s"
    )
    show("iterations per second", ours["rate"], theirs["rate"])
    show("iterations per second of processor", ours["cpu_rate"], theirs["cpu_rate"])
    show("peak memory, MiB", ours["peak_mib"], theirs["peak_mib"])
    print(f"{'model TFLOP per iteration':<40}{ours['flops'] / 1e12:15.4g}")
    peak = options.peak_tflops or PEAK_TFLOPS.get((ours["device"], options.precision))
    if peak:
        shares = (utilisation(ours["flops"], side["rate"], peak) for side in (ours, theirs))
        show(f"model FLOP utilisation, of {peak:g} TFLOP/s", *shares)


def show(what: str, ours: float, theirs: float) -> None:
    """Print one figure of both sides and their ratio."""
    print(f"{what:<40}ours {ours:10.4g}   theirs {theirs:10.4g}   ratio {ours / theirs:6.2f}")


def utilisation(flops: float, rate: float, peak_tflops: float) -> float:
    """Give the share of a device's peak that so many iterations per second make use of."""
    return flops * rate / (1e12 * peak_tflops)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clone", type=Path)
    parser.add_argument("--batch", type=int, default=16, help="recordings, without partners")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--score", type=int, default=32, metavar="FILES", help="files to score")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--workers", type=int, default=0, help="processes that read audio")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument(
        "--peak-tflops", type=float, help="of the device, for utilisation; known for some"
    )
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    options = parser.parse_args()
    if not (options.clone / "urgent_mos").is_dir():
        parser.error(f"{options.clone} is not the clone asked for: it has no folder urgent_mos")
    least = {"batch": 1, "steps": WARM_UP_STEPS + 2, "score": 1, "threads": 1, "workers": 0}
    for name, bound in least.items():
        if getattr(options, name) < bound:
            parser.error(f"--{name}: expected at least {bound}, got {getattr(options, name)}")
    if not options.seconds > 0:
        parser.error(f"--seconds: expected above 0, got {options.seconds:g}")
    return options


def alone(function: Callable[..., Any], folder: Path, options: argparse.Namespace) -> Any:
    """Call a function in a fresh process, so that each side has its own memory."""
    print(f"{function.__name__} …", file=sys.stderr, flush=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_set_up,
                             initargs=(options.threads,)) as pool:  # fmt: skip
        return pool.submit(function, folder, options).result()


def _set_up(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    # Processes that read audio are forked, as where a program trains by itself: made as this one
    # was, each would first import everything again.
    multiprocessing.set_start_method("fork", force=True)


# --- material --------------------------------------------------------------------------------


def make_material(folder: Path, options: argparse.Namespace) -> None:
    """Write recordings to train on and to score, a manifest, and a random WavLM base."""
    from parity_with_public_code import FULL, make_encoder

    # The authors' encoder needs a hidden state of every layer, and a dropped one gives none.
    size = replace(FULL, wavlm={"layerdrop": 0.0})
    make_encoder(folder / "wavlm", folder / "wavlm_alone", size)
    rng = np.random.default_rng(0)
    (folder / "score").mkdir()
    for index in range(options.score):
        # From half to one and a half of the length trained on.
        seconds = options.seconds * (0.5 + index / max(1, options.score - 1))
        write_recording(folder / "score" / f"{index:03d}.wav", seconds, rng)
    lines = []
    for split, count in (("train", options.batch * options.steps), ("validation", 2)):
        for index in range(count):
            path = folder / f"{split}_{index:04d}.wav"
            write_recording(path, options.seconds, rng)
            record = {
                "audio_path": str(path), "uid": f"{split}:{index}", "system_id": split,
                "reference_id": str(index), "duration": options.seconds,
                "metrics": dict(zip(METRICS, rng.uniform(1, 5, len(METRICS)), strict=True)),
                "meta": {"split": split},
            }  # fmt: skip
            lines.append((split, json.dumps(record) + "\n"))
    (folder / "all.jsonl").write_text("".join(line for _, line in lines))
    for wanted in ("train", "validation"):
        kept = "".join(line for split, line in lines if split == wanted)
        (folder / f"{wanted}.jsonl").write_text(kept)


def write_recording(path: Path, seconds: float, rng: np.random.Generator) -> None:
    """Write noise: what is in a recording does not change the time."""
    soundfile.write(path, 0.1 * rng.standard_normal(round(seconds * 16000)).clip(-3, 3), 16000)


# --- training --------------------------------------------------------------------------------


class StepClock:
    """Notes time and peak memory at every step of any optimizer."""

    def __init__(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.times: list[tuple[float, float]] = []
        self.peak_mib = 0.0
        register_optimizer_step_post_hook(self._note)

    def _note(self, *_: object) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.peak_mib = torch.cuda.max_memory_allocated() / 2**20
        else:
            self.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.times.append((time.perf_counter(), time.process_time()))

    def result(self, options: argparse.Namespace) -> dict[str, Any]:
        """Give iterations per second and peak memory."""
        import torch

        if len(self.times) != options.steps:
            raise RuntimeError(f"expected {options.steps} steps, saw {len(self.times)}")
        passed, used = np.diff(self.times, axis=0)[WARM_UP_STEPS - 1 :].T.tolist()
        cuda = torch.cuda.is_available()
        return {
            "rate": 1 / statistics.median(passed),
            "cpu_rate": 1 / statistics.median(used),
            "step_seconds": passed,
            "step_cpu_seconds": used,
            "peak_mib": self.peak_mib,
            "device": torch.cuda.get_device_name() if cuda else "processor",
        }


def train_here(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train with this package."""
    from urgentmos.config import load_config
    from urgentmos.training.config import RunConfig
    from urgentmos.training.trainer import Trainer

    changes = {
        "model.encoders.0.options.checkpoint": folder / "wavlm",
        "data.manifests": json.dumps([str(folder / "all.jsonl")]),
        "data.pair_manifests": "[]",
        "data.max_seconds": options.seconds,
        # Recordings and their partners.
        "data.batch_seconds": 2 * options.batch * options.seconds,
        "data.workers": options.workers,
        "output": folder / "run",
        "steps": options.steps,
        "precision": options.precision,
    }
    run = load_config(RunConfig, CONFIG, [f"{name}={value}" for name, value in changes.items()])
    trainer = Trainer(run)
    clock = StepClock()
    trainer.train()
    result = clock.result(options)
    return result | {"flops": count_flops(trainer)}


def count_flops(trainer: Any) -> int:
    """Count the operations of one step's forward and backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    from urgentmos.data.sampler import Progress

    batch = next(trainer._batches(Progress())).to(trainer._accelerator.device)
    with FlopCounterMode(display=False) as counter:
        trainer._module(batch)[0].backward()
    return int(counter.get_total_flops())


def train_there(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train with the authors' code, as their ``train.py`` does."""
    stand_in_for_wandb()
    stand_in_for_torchcodec()
    from parity_with_public_code import import_public

    import_public(options.clone, "urgent_mos.trainer")
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    config = OmegaConf.load(options.clone / "configs" / "f1c1m5_d_corpus.yaml")
    del config["hydra"], config["defaults"]
    config.exp_dir = str(folder)
    config.model.feature_extractor.feature_extractors[0].model_name = str(folder / "wavlm")
    config.trainer.epochs, config.trainer.report_to = 1, None
    config.trainer.save_per_updates = 10**9
    precision = "no" if options.precision == "float32" else "bf16"
    config.trainer.accelerate_kwargs = {"mixed_precision": precision}
    OmegaConf.resolve(config)
    # Not in the configuration, which goes into the checkpoint and says how it scores.
    batches = {
        "max_samples_per_gpu": options.batch,
        "batch_frame_per_gpu": 10**9,
        "num_workers": options.workers,
        # As many as torch waits with by itself, and so this package.
        "prefetch": 2,
    }
    train, validation = (
        instantiate(
            config.dataloader,
            data=[str(folder / f"{split}.jsonl")],
            is_train=is_train,
            **batches,
        )
        for split, is_train in (("train", True), ("validation", False))
    )
    trainer = instantiate(config.trainer, config_str=json.dumps(OmegaConf.to_container(config)))
    clock = StepClock()
    trainer.train(train, validation, seed=config.get("seed", 42))
    return clock.result(options)


def stand_in_for_wandb() -> None:
    """Let the authors' trainer import wandb where it is not installed; it is not used."""
    if find_spec("wandb") is None:
        _stand_in("wandb")


def stand_in_for_torchcodec() -> None:
    """Let soundfile read for the authors' code where torchcodec is not installed."""
    if find_spec("torchcodec") is not None:
        return
    import torch
    import torchaudio

    # It looks for torchcodec once, and must not take the stand-in for it.
    import transformers.audio_utils  # noqa: F401

    class AudioDecoder:
        """What the authors' code asks of torchcodec: how long a file is."""

        def __init__(self, path: str) -> None:
            seconds = soundfile.info(path).duration
            self.metadata = types.SimpleNamespace(duration_seconds_from_header=seconds)

    def load(path: str) -> tuple[torch.Tensor, int]:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T), sample_rate

    _stand_in("torchcodec")
    _stand_in("torchcodec.decoders").AudioDecoder = AudioDecoder  # type: ignore[attr-defined]
    torchaudio.load = load


def _stand_in(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    sys.modules[name] = module
    return module


# --- scoring ---------------------------------------------------------------------------------


def score_here(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Score a folder with this package; seconds per second of audio."""
    import torch

    import urgentmos
    from urgentmos.model.import_checkpoint import import_checkpoint

    import_checkpoint(
        folder / "model_last.pt",
        folder / "imported",
        trained_after_fix=True,
        encoder=str(folder / "wavlm_alone"),
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assessor = urgentmos.load(str(folder / "imported"), device=device)
    return time_scoring(folder, lambda paths: list(assessor.score_files(paths)))


def score_there(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Score the folder with the authors' ``infer``; seconds per second of audio."""
    import torch
    from parity_with_public_code import import_public

    stand_in_for_torchcodec()
    public = import_public(options.clone, "urgent_mos")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = public.load_model_from_checkpoint(folder / "model_last.pt", device=device)
    return time_scoring(
        folder, lambda paths: public.infer(model, paths, num_workers=options.workers)
    )


def time_scoring(folder: Path, score: Callable[[list[str]], Any]) -> dict[str, float]:
    """Time a pass over the folder, after two files to warm up."""
    paths = sorted(str(path) for path in (folder / "score").glob("*.wav"))
    score(paths[:2])
    wall, cpu = time.perf_counter(), time.process_time()
    results = score(paths)
    elapsed = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    if len(results) != len(paths):
        raise RuntimeError(f"expected {len(paths)} scores, got {len(results)}")
    audio = sum(soundfile.info(path).duration for path in paths)
    return {name: seconds / audio for name, seconds in elapsed.items()}


TRAINERS = {"ours": train_here, "theirs": train_there}
SCORERS = {"ours": score_here, "theirs": score_there}

if __name__ == "__main__":
    main()
