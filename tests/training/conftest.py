import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from urgentmos.config import from_dict, to_dict
from urgentmos.model.config import ModelConfig
from urgentmos.training.config import RunConfig

MakeRun = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of 0.4 s: four contents, each at three strengths of noise, partly labelled."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines = []
    for content in range(4):
        tone = np.sin(2 * np.pi * (200 + 150 * content) * np.arange(6400) / 16000)
        for step in range(3):
            name = f"{content}_{step}.wav"
            noisy = 0.2 * tone + (0.005 + 0.1 * step) * rng.standard_normal(6400)
            soundfile.write(folder / name, noisy.clip(-1, 1), 16000)
            metrics = {"mos_overall": 4.5 - 1.5 * step, "sdr": 20.0 - 10 * step}
            if content % 2:
                metrics |= {"pesq": 4.2 - 1.4 * step, "lsd": 2.0 + step, "estoi": 0.9 - 0.3 * step}
                metrics["lps"] = 0.9 - 0.2 * step
            meta = {
                "family": str(content),
                "strength": step / 2,
                "split": "validation" if content == 3 else "train",
            }
            lines.append(
                {
                    "audio_path": name,
                    "uid": f"{step}:{content}",
                    "system_id": str(step),
                    "reference_id": str(content),
                    "duration": 0.4,
                    "metrics": metrics,
                    "meta": meta,
                }
            )
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def make_run(manifest: Path, tiny_config: ModelConfig, tmp_path: Path) -> MakeRun:
    """Make a run of the tiny model on the tiny corpus: ``make_run(steps=4, seed=1)``."""

    def make(*, dropout: float = 0.0, **changes: Any) -> RunConfig:
        groups = {
            name: replace(group, dropout=dropout) for name, group in tiny_config.groups.items()
        }
        plain: dict[str, Any] = {
            "model": to_dict(replace(tiny_config, groups=groups)),
            "output": str(tmp_path / "run"),
            "steps": 4,
            "validate_every": 100,
            "save_every": 100,
            "log_every": 2,
        }
        plain |= {key: value for key, value in changes.items() if key not in ("data", "optimizer")}
        plain["data"] = {
            "manifests": [str(manifest)],
            "max_seconds": 0.4,
            "min_seconds": 0.2,
            "batch_seconds": 2.4,
            "pairs": {"ref": 0.5, "any": 0.5},
            **changes.get("data", {}),
        }
        plain["optimizer"] = {"lr": 1e-3, **changes.get("optimizer", {})}
        return from_dict(RunConfig, plain, where="run")

    return make
