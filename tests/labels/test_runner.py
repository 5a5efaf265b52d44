import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from urgentmos.data.manifest import ManifestError, Recording, read_manifest, write_manifest
from urgentmos.file_lock import FileLockedError
from urgentmos.labels import processes
from urgentmos.labels.catalogue import UnknownLabelError
from urgentmos.labels.lsd import Lsd
from urgentmos.labels.part_file import PartFile, PartFileError
from urgentmos.labels.runner import ShareError, in_share, label_manifest
from urgentmos.labels.worker import Outcome, Task, label_chunk
from urgentmos.precision import Precision

NUM_GOOD = 6
LITTLE = 1600
"""As much as a recording may be longer than its reference."""


@pytest.fixture
def manifest(tmp_path: Path, speech: Callable[..., np.ndarray]) -> Path:
    """Six recordings of one reference, the last a bit longer; then bad ones of three kinds."""
    reference = speech(seconds=0.5)
    soundfile.write(tmp_path / "reference.wav", reference, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    generator = np.random.default_rng(0)
    recordings = []
    for index in range(NUM_GOOD):
        noisy = reference + 0.01 * index * generator.standard_normal(len(reference))
        if index == NUM_GOOD - 1:
            noisy = np.concatenate((noisy, noisy[:LITTLE]))
        soundfile.write(tmp_path / f"{index}.wav", noisy, 16000, subtype="FLOAT")
        recordings.append(_recording(tmp_path / f"{index}.wav", "reference.wav"))
    recordings += [
        _recording(tmp_path / "silent.wav", "reference.wav"),
        _recording(tmp_path / "absent.wav", "reference.wav"),
        _recording(tmp_path / "0.wav", None, uid="alone"),
        _recording(tmp_path / "1.wav", "absent.wav", uid="widowed"),
    ]
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, recordings)
    return path


def _recording(path: Path, reference: str | None, uid: str = "") -> Recording:
    uid = uid or path.stem
    split = "train" if uid in {"0", "1"} else "test"
    meta = {"reference_path": reference and str(path.parent / reference), "split": split}
    return Recording(path, uid, f"system {uid}", "r", 0.5, {}, meta)


def _label(manifest: Path, **options: Any) -> dict[str, Recording]:
    output = manifest.with_name("out.jsonl")
    options = {"labels": ["lsd"], "workers": 0, "progress": False, **options}
    label_manifest(manifest, output, **options)
    return {recording.uid: recording for recording in read_manifest(output)}


def _pools_of(pool_class: Callable[[], Any]) -> Callable[[int], Any]:
    """Stand for `processes._pool`."""

    @contextmanager
    def pool(workers: int) -> Iterator[Any]:
        yield pool_class()

    return pool


def _pool_that_takes(chunks: int) -> Callable[[int], Any]:
    """The first pool breaks after so many chunks, before any is done; later ones work."""
    left = chunks

    class Pool:
        def submit(self, function: Any, tasks: Sequence[Task], precision: str) -> Future[Any]:
            nonlocal left
            if left == 0:
                left = -1
                raise BrokenProcessPool
            left -= 1
            future: Future[Any] = Future()
            future.set_result(function(tasks, precision))
            return future

    return _pools_of(Pool)


def test_labels_equal_the_tools_own_and_keep_the_order(manifest: Path) -> None:
    labelled = _label(manifest)
    assert list(labelled) == [recording.uid for recording in read_manifest(manifest)]
    recording, _ = soundfile.read(manifest.with_name("3.wav"), dtype="float32")
    reference, _ = soundfile.read(manifest.with_name("reference.wav"), dtype="float32")
    assert labelled["3"].metrics == Lsd().label(recording, reference)
    assert "label_errors" not in labelled["3"].meta


def test_a_recording_that_is_a_little_longer_is_cut_to_its_reference(manifest: Path) -> None:
    recording, _ = soundfile.read(manifest.with_name("5.wav"), dtype="float32")
    reference, _ = soundfile.read(manifest.with_name("reference.wav"), dtype="float32")
    assert len(recording) == len(reference) + LITTLE
    expected = Lsd().label(recording[: len(reference)], reference)
    assert _label(manifest)["5"].metrics == expected


@pytest.mark.parametrize("shorter", ["recording", "reference"])
def test_a_recording_of_another_length_is_none_of_its_reference(
    manifest: Path, shorter: str
) -> None:
    name = manifest.with_name("5.wav" if shorter == "reference" else "reference.wav")
    waveform, _ = soundfile.read(name, dtype="float32")
    waveform = np.pad(waveform, (0, 1 if shorter == "reference" else 2 * LITTLE + 1))
    soundfile.write(name, waveform, 16000, subtype="FLOAT")
    seconds = {"reference": "0.60 s, reference of 0.50", "recording": "0.60 s, reference of 0.70"}
    reason = f"recording of {seconds[shorter]} s: they have to be the same moments, and may "
    errors = _label(manifest, labels=["lsd", "mcd"])["5"].meta["label_errors"]
    assert errors == dict.fromkeys(("lsd", "mcd"), reason + "differ by 0.1 s at most")


def test_voices_are_compared_whatever_the_lengths(
    tmp_path: Path, speech: Callable[..., np.ndarray], package: Callable[[str], Any]
) -> None:
    package("resemblyzer")
    reference = speech(seconds=3.0)
    soundfile.write(tmp_path / "reference.wav", reference, 16000)
    soundfile.write(tmp_path / "part.wav", reference[:32000], 16000)
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, [_recording(tmp_path / "part.wav", "reference.wav")])
    labelled = _label(path, labels=["lsd", "spksim"])["part"]
    assert set(labelled.metrics) == {"spksim"}
    assert set(labelled.meta["label_errors"]) == {"lsd"}


def test_a_missing_label_has_its_reason_and_the_others_their_values(manifest: Path) -> None:
    labelled = _label(manifest, labels=["lsd", "mcd"])
    reasons = {
        uid: recording.meta["label_errors"]
        for uid, recording in labelled.items()
        if "label_errors" in recording.meta
    }
    assert set(reasons) == {"silent", "absent", "alone", "widowed"}
    assert reasons["silent"] == dict.fromkeys(("lsd", "mcd"), "silent recording")
    assert reasons["alone"] == dict.fromkeys(("lsd", "mcd"), "no reference")
    assert "file" in reasons["absent"]["lsd"]
    assert reasons["widowed"]["mcd"].startswith("reference: ")
    assert all(set(labelled[str(index)].metrics) == {"lsd", "mcd"} for index in range(NUM_GOOD))


def test_worker_processes_give_the_same_file(manifest: Path) -> None:
    _label(manifest)
    here = manifest.with_name("out.jsonl")
    apart = manifest.with_name("apart.jsonl")
    label_manifest(manifest, apart, labels=["lsd"], workers=2, progress=False)
    assert apart.read_text() == here.read_text()


def test_a_killed_run_goes_on_where_it_stopped(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def label_until_killed(tasks: Sequence[Task], precision: str) -> list[Outcome]:
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.extend(task.uid for task in tasks)
        return label_chunk(tasks, precision)

    monkeypatch.setattr(processes, "label_chunk", label_until_killed)
    with pytest.raises(KeyboardInterrupt):
        _label(manifest)
    assert not manifest.with_name("out.jsonl").exists()
    part = manifest.with_name("out.jsonl.part.jsonl")
    # The kill may come in the middle of a line: the fourth recording is then done again.
    part.write_bytes(part.read_bytes()[:-3])

    seen.clear()
    monkeypatch.setattr(processes, "label_chunk", _recorder(seen))
    labelled = _label(manifest)
    assert seen == ["3", "4", "5", "silent", "absent", "alone", "widowed"]
    assert not part.exists()
    manifest.with_name("out.jsonl").unlink()
    assert _label(manifest) == labelled


def _stop_after(
    count: int, manifest: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> None:
    """Label until so many recordings are done."""
    seen: list[str] = []

    def label_until_killed(tasks: Sequence[Task], precision: Precision) -> list[Outcome]:
        if len(seen) == count:
            raise KeyboardInterrupt
        seen.extend(task.uid for task in tasks)
        return label_chunk(tasks, precision)

    with monkeypatch.context() as patch:
        patch.setattr(processes, "label_chunk", label_until_killed)
        with pytest.raises(KeyboardInterrupt):
            _label(manifest, **options)


def _with_other_audio(recording: Recording) -> Recording:
    return replace(recording, audio_path=recording.audio_path.with_name("5.wav"))


def _with_other_reference(recording: Recording) -> Recording:
    reference = str(recording.audio_path.with_name("3.wav"))
    return replace(recording, meta={**recording.meta, "reference_path": reference})


@pytest.mark.parametrize("correct", [_with_other_audio, _with_other_reference])
def test_a_corrected_manifest_gets_labels_of_its_own_files(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, correct: Callable[[Recording], Recording]
) -> None:
    wrong = read_manifest(manifest)
    _stop_after(4, manifest, monkeypatch)
    write_manifest(manifest, [wrong[0], *map(correct, wrong[1:4]), *wrong[4:]])
    seen: list[str] = []
    monkeypatch.setattr(processes, "label_chunk", _recorder(seen))
    labelled = _label(manifest)
    assert seen[:4] == ["1", "2", "3", "4"]
    manifest.with_name("out.jsonl").unlink()
    assert _label(manifest) == labelled


def test_a_file_that_was_replaced_is_labelled_again(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop_after(4, manifest, monkeypatch)
    shutil.copy(manifest.with_name("4.wav"), manifest.with_name("1.wav"))
    labelled = _label(manifest)
    assert labelled["1"].metrics == labelled["4"].metrics


def test_a_part_file_that_does_not_say_what_its_labels_are_of_is_redone(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop_after(4, manifest, monkeypatch)
    part = manifest.with_name("out.jsonl.part.jsonl")
    lines = [json.loads(line) for line in part.read_text().splitlines()]
    assert all(line.pop("inputs") for line in lines[1:])
    part.write_text("".join(json.dumps(line) + "\n" for line in lines))
    seen: list[str] = []
    monkeypatch.setattr(processes, "label_chunk", _recorder(seen))
    _label(manifest)
    assert seen[:4] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    "other", [{"labels": ["mcd"]}, {"where": lambda row: row.uid == "4"}, {"shares": {"lsd": 0.0}}]
)
def test_labels_that_are_no_longer_asked_for_are_not_written(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    _stop_after(4, manifest, monkeypatch)
    labelled = _label(manifest, **other)
    manifest.with_name("out.jsonl").unlink()
    assert labelled == _label(manifest, **other)
    assert "lsd" not in labelled["0"].metrics


def test_what_failed_is_tried_again(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _label(manifest)
    soundfile.write(
        manifest.with_name("absent.wav"), np.random.default_rng(0).normal(size=8000) * 0.1, 16000
    )
    seen: list[str] = []
    monkeypatch.setattr(processes, "label_chunk", _recorder(seen))
    label_manifest(
        manifest.with_name("out.jsonl"),
        manifest.with_name("again.jsonl"),
        labels=["lsd"],
        workers=0,
        progress=False,
    )
    assert seen == ["silent", "absent", "alone", "widowed"]
    again = {row.uid: row for row in read_manifest(manifest.with_name("again.jsonl"))}
    assert "lsd" in again["absent"].metrics
    assert "label_errors" not in again["absent"].meta


def test_another_precision_does_not_mix_into_a_part_file(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, package: Callable[[str], Any]
) -> None:
    package("distillmos")
    monkeypatch.setattr(processes, "label_chunk", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        _label(manifest, labels=["distill_mos"])
    with pytest.raises(PartFileError, match=r"float32.*bfloat16"):
        _label(manifest, labels=["distill_mos"], precision="bfloat16")


def test_a_crash_costs_one_recording(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_pool", _pool_that_dies_on("2"))
    labelled = _label(manifest, workers=1)
    assert labelled["2"].meta["label_errors"] == {
        "lsd": "the labelling process died on this recording"
    }
    assert [uid for uid in map(str, range(NUM_GOOD)) if "lsd" in labelled[uid].metrics] == [
        "0", "1", "3", "4", "5",
    ]  # fmt: skip


def test_a_chunk_that_a_broken_pool_refuses_is_labelled_all_the_same(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pool whose process has died refuses what it is given next, here its second chunk.
    monkeypatch.setattr(processes, "_pool", _pool_that_takes(1))
    labelled = _label(manifest, workers=1)
    assert all("lsd" in labelled[str(number)].metrics for number in range(NUM_GOOD))
    assert all(r.metrics or r.meta["label_errors"] for r in labelled.values())


def test_labels_that_the_manifest_had_stand(manifest: Path) -> None:
    first = read_manifest(manifest)
    first[0].metrics = {"dnsmos_ovrl": 3.3}
    write_manifest(manifest, first)
    labelled = _label(manifest, labels=["dnsmos"], where=lambda r: r.uid == "0")
    assert labelled["0"].metrics["dnsmos_ovrl"] == 3.3
    assert {"dnsmos_sig", "dnsmos_bak"} <= labelled["0"].metrics.keys()


def test_an_odd_failure_of_a_tool_becomes_a_reason(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*args: object) -> dict[str, float]:
        raise IndexError("list index out of range")

    monkeypatch.setattr(Lsd, "label", break_down)
    reasons = _label(manifest)["0"].meta["label_errors"]
    assert reasons == {"lsd": "lsd failed: IndexError: list index out of range"}


def test_a_value_that_is_no_number_becomes_a_reason(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lsd, "label", lambda *args: {"lsd": float("inf")})
    labelled = _label(manifest)["0"]
    assert labelled.metrics == {}
    assert labelled.meta["label_errors"] == {"lsd": "the tool gave inf"}


def test_shares_nest_and_come_out_near_their_size() -> None:
    uids = [f"system:{index}" for index in range(4000)]
    small = {uid for uid in uids if in_share(uid, 0.1)}
    large = {uid for uid in uids if in_share(uid, 0.3)}
    assert small < large
    assert len(large) == pytest.approx(1200, rel=0.1)
    assert not any(in_share(uid, 0.0) for uid in uids)
    assert all(in_share(uid, 1.0) for uid in uids)


def test_a_share_leaves_no_reason_on_the_others(manifest: Path) -> None:
    labelled = _label(manifest, labels=["lsd", "mcd"], shares={"mcd": 0.5})
    with_mcd = {uid for uid, row in labelled.items() if "mcd" in row.metrics}
    good = {str(index) for index in range(NUM_GOOD)}
    assert with_mcd == {uid for uid in good if in_share(uid, 0.5)}
    assert all("label_errors" not in labelled[uid].meta for uid in good)


def test_only_the_recordings_asked_for_are_labelled(manifest: Path) -> None:
    labelled = _label(manifest, where=lambda recording: recording.meta["split"] == "train")
    assert {uid for uid, row in labelled.items() if row.metrics} == {"0", "1"}
    assert "label_errors" not in labelled["silent"].meta


def test_narrow_band_files_get_narrow_band_pesq(
    tmp_path: Path, speech: Callable[..., np.ndarray], package: Callable[[str], Any]
) -> None:
    package("pesq")
    soundfile.write(tmp_path / "n.wav", speech(seconds=2.0, sample_rate=8000), 8000)
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, [_recording(tmp_path / "n.wav", "n.wav")])
    # 4.644 would be wide band.
    assert _label(path, labels=["pesq"])["n"].metrics["pesq"] == pytest.approx(4.549, abs=1e-3)
    content = json.loads(path.with_name("out.jsonl.labels.json").read_text())
    assert content["tools"]["pesq"].endswith("16 kHz wide band, narrow band of 8 kHz files")


def test_the_sidecar_names_the_tools_of_this_and_earlier_runs(manifest: Path) -> None:
    _label(manifest)
    label_manifest(
        manifest.with_name("out.jsonl"),
        manifest.with_name("both.jsonl"),
        labels=["mcd"],
        workers=0,
        progress=False,
    )
    content = json.loads(manifest.with_name("both.jsonl.labels.json").read_text())
    assert set(content["tools"]) == {"lsd", "mcd"}
    assert content["labelled"] == {"lsd": NUM_GOOD, "mcd": NUM_GOOD}
    assert content["missing"]["mcd"]["silent recording"] == 1


@pytest.mark.parametrize("content", ["{", "[1]", '{"tools": 1}'])
def test_a_broken_sidecar_is_told_before_any_work(manifest: Path, content: str) -> None:
    manifest.with_name("manifest.jsonl.labels.json").write_text(content)
    with pytest.raises(ManifestError, match=r"manifest\.jsonl\.labels\.json: .* take it away"):
        _label(manifest)
    assert not manifest.with_name("out.jsonl.part.jsonl").exists()


def test_an_existing_output_is_not_written_over(manifest: Path) -> None:
    manifest.with_name("out.jsonl").write_text("precious")
    with pytest.raises(FileExistsError, match=r"out\.jsonl exists"):
        _label(manifest)
    assert manifest.with_name("out.jsonl").read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": ["lsb"]}, UnknownLabelError, "lsb"),
        ({"shares": {"lsd": 1.5}}, ShareError, "expected 0 to 1, got 1.5"),
        ({"shares": {"mcd": 0.5}}, ShareError, "not among the labels"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    manifest: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _label(manifest, **options)
    assert not manifest.with_name("out.jsonl.part.jsonl").exists()


def _recorder(seen: list[str]) -> Callable[..., list[Outcome]]:
    def label(tasks: Sequence[Task], precision: str) -> list[Outcome]:
        seen.extend(task.uid for task in tasks)
        return label_chunk(tasks, precision)

    return label


def _interrupt(*args: object) -> list[Outcome]:
    raise KeyboardInterrupt


def _pool_that_dies_on(uid: str) -> Callable[[int], Any]:
    class Pool:
        def submit(self, function: Any, tasks: Sequence[Task], precision: str) -> Future[Any]:
            future: Future[Any] = Future()
            if any(task.uid == uid for task in tasks):
                future.set_exception(BrokenProcessPool())
            else:
                future.set_result(function(tasks, precision))
            return future

    return _pools_of(Pool)


def test_two_runs_on_one_output_are_refused(manifest: Path) -> None:
    part = manifest.with_name("out.jsonl.part.jsonl")
    with PartFile(part, tools={}):
        with pytest.raises(FileLockedError, match="another run is writing"):
            _label(manifest)
        assert part.exists()
    assert "lsd" in _label(manifest)["0"].metrics
