"""The default recipe's pseudo-MOS: sets that share a recording become one manifest."""

import json
from pathlib import Path

from urgentmos.data.manifest import read_manifest

from .conftest import run_script

# Distill-MOS, DNSMOS P.808, PESQ
LABELS = [
    (1.5, 2.5, 1.1), (2.5, 3.0, 1.3), (3.5, 3.2, 2.5), (4.5, 4.0, 3.9), (2.0, 2.7, 1.2),
    (3.0, None, None), (None, None, None),
]  # fmt: skip


def write_set(folder: Path) -> Path:
    folder.mkdir()
    lines = []
    for number, values in enumerate(LABELS):
        labels = dict(zip(("distill_mos", "dnsmos_p808", "pesq"), values, strict=True))
        lines.append({
            "audio_path": f"{number}.wav", "uid": f"a:{number}", "system_id": "a",
            "reference_id": str(number), "duration": 1.0,
            "metrics": {name: value for name, value in labels.items() if value is not None},
            "meta": {"split": "train", "origin": "clean", "distortions": [{"kind": "babble"}]},
        })  # fmt: skip
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_sets_that_share_recordings_are_put_together(tmp_path: Path) -> None:
    sets = [write_set(tmp_path / name) for name in ("simulated", "systems")]
    output = tmp_path / "labelled.jsonl"
    done = run_script("default/pseudo_mos.py", *sets, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "12 of 14 recordings have a pseudo-MOS" in done.stdout

    recordings = read_manifest(output)
    assert [r.uid for r in recordings] == [f"a:{i}" for i in range(7)] + [
        f"a:{i}@systems" for i in range(7)
    ]
    first, second = (
        [r.metrics.get("mos") for r in half] for half in (recordings[:7], recordings[7:])
    )
    assert first == second
    assert first[6] is None
    assert first[0] < first[4] < first[1] < first[5] < first[2] < first[3]


def test_labels_that_no_recording_has_all_of_are_told(tmp_path: Path) -> None:
    manifest = write_set(tmp_path / "simulated")
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["metrics"].pop("pesq", None)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = tmp_path / "labelled.jsonl"
    done = run_script("default/pseudo_mos.py", manifest, "--output", output)
    assert done.returncode == 2
    assert "at least two recordings with all of distill_mos, dnsmos_p808, pesq" in done.stderr
    assert not output.exists()
