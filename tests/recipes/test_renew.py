"""The default recipe's last manifest: which labels come from which recordings."""

import json
from pathlib import Path

from urgentmos.data.manifest import read_manifest

from .conftest import run_script

LABELS = {"pesq": 2.0, "sdr": 7.0, "distill_mos": 3.0, "mos": 3.1}


def write_set(folder: Path, *, num_train: int, num_validation: int) -> Path:
    folder.mkdir()
    splits = ["train"] * num_train + ["validation"] * num_validation
    lines = []
    for number, split in enumerate(splits):
        rare = {"dnsmos_ovrl": 2.9} if number == num_train - 1 else {}
        lines.append({
            "audio_path": f"{number}.wav", "uid": f"a:{number}", "system_id": "a",
            "reference_id": str(number), "duration": 1.0, "metrics": LABELS | rare,
            "meta": {"split": split, "reference_path": "reference.wav"},
        })  # fmt: skip
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_of_what_was_heard_before_no_label_needs_a_reference(tmp_path: Path) -> None:
    new = [
        write_set(tmp_path / name, num_train=3, num_validation=1) for name in ("mixed", "voices")
    ]
    heard = write_set(tmp_path / "heard", num_train=9, num_validation=2)
    output = tmp_path / "renewed.jsonl"
    options = ["--at-most", "4", "--output", output]
    done = run_script("default/renew.py", "--new", *new, "--heard", heard, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6 new recordings, 4 heard before, 2 for validation\n"

    recordings = read_manifest(output)
    fresh, before, validation = recordings[:6], recordings[6:10], recordings[10:]
    assert {r.audio_path.parent.name for r in fresh} == {"mixed", "voices"}
    assert all(LABELS.items() <= r.metrics.items() for r in [*fresh, *validation])
    assert all("reference_path" in r.meta for r in [*fresh, *validation])
    assert {r.audio_path.parent.name for r in before} == {"heard"}
    assert [set(r.metrics) - {"dnsmos_ovrl"} for r in before] == [{"distill_mos", "mos"}] * 4
    assert not any(r.meta.get("reference_path") for r in before)
    # The one with the rare label is always there.
    assert [r.uid for r in before if "dnsmos_ovrl" in r.metrics] == ["a:8"]
    assert [r.meta["split"] for r in recordings] == ["train"] * 10 + ["validation"] * 2
