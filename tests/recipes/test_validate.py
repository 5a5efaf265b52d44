"""validate.py correlates a model's scores with the labels of the validation side."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from urgentmos.correlation import lcc
from urgentmos.data.manifest import Recording, write_manifest
from urgentmos.model.assessor import Assessor

from .conftest import run_script

Speech = Callable[..., np.ndarray]


def test_it_leaves_out_the_training_side_and_what_is_named(
    tiny_model_dir: Path, tiny_assessor: Assessor, tmp_path: Path, speech: Speech
) -> None:
    recordings, kept = [], []
    sides = ["validation"] * 5 + ["train"]
    for number, side in enumerate(sides):
        path, seconds = tmp_path / f"{number}.wav", 0.8 + 0.1 * number
        waveform = speech(seconds, seed=number)
        soundfile.write(path, waveform, 16000, subtype="FLOAT")
        meta = {
            "split": side,
            "utterance": f"{'mimic3' if number == 2 else 'clean'}/{number}",
            "speaker": "anna" if number < 2 else str(number),
        }
        # Far from the others where it is not to count.
        label = 4.0 if number in (2, 5) else 1.0 + 0.1 * number
        recordings.append(
            Recording(path, f"a:{number}", "a", str(number), seconds, {"mos": label}, meta)
        )
        if number not in (2, 5):
            kept.append((label, float(tiny_assessor.score(waveform, 16000)["mos"][0])))
    write_manifest(tmp_path / "manifest.jsonl", recordings)
    ran = run_script(
        "default/validate.py", tiny_model_dir, tmp_path / "manifest.jsonl", "--leave-out", "mimic3",
        "--output", tmp_path / "figures" / "validation.json",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    labels, scores = np.array(kept).T
    cells = next(line for line in ran.stdout.splitlines() if line.startswith("| mos |")).split("|")
    assert int(cells[2]) == 4
    assert abs(float(cells[3]) - lcc(labels, scores)) < 0.002
    written = json.loads((tmp_path / "figures" / "validation.json").read_text())
    assert written["lcc/mos"] == written["lcc/mean"] == float(cells[3])
    assert written["srcc/mos"] == float(cells[4])
    # With speakers alike, one of two recordings by anna counts half of one by another.
    alike = lcc(labels.repeat([1, 1, 2, 2]), scores.repeat([1, 1, 2, 2]))
    assert abs(alike - lcc(labels, scores)) > 0.01
    assert abs(float(cells[5]) - alike) < 0.002
