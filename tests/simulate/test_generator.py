import json
import multiprocessing
import os
import re
import select
import shutil
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from urgentmos.config import ConfigError
from urgentmos.data.manifest import ManifestError, read_manifest
from urgentmos.file_lock import FileLockedError, lock_folder
from urgentmos.simulate.config import SimulationConfig, SourceShares
from urgentmos.simulate.distortion import DistortionKind
from urgentmos.simulate.generator import WorkerDiedError, generate, plan_simulation
from urgentmos.simulate.kinds import DISTORTIONS
from urgentmos.simulate.levels import speech_level_db
from urgentmos.simulate.material import read_material
from urgentmos.simulate.plan import make_plan, material_digest
from urgentmos.simulate.probe import probe
from urgentmos.simulate.render import render
from urgentmos.simulate.sources import MissingMaterialError
from urgentmos.simulate.speech_synthesis import Voice
from urgentmos.simulate.tools import MissingToolError


@pytest.fixture
def config(material):
    return SimulationConfig(
        num_recordings=24,
        speech=[str(material / "speech")],
        noise=[str(material / "noise")],
        responses=[str(material / "rir")],
        shares=SourceShares(clean=1.0, processed=0.0, synthesised=0.0),
        weights={"recorded_noise": 2.0, "measured_room": 1.0, "babble": 1.0, "mnru": 1.0},
        family_share=0.4,
        validation_share=0.4,
        crop_seconds=[2.0, 2.5],
    )


def make(config, folder, **options):
    return generate(config, folder, progress=False, **{"seed": 3, **options})


def contents(folder):
    paths = sorted(p for kind in ("audio", "reference") for p in (folder / kind).rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


def rows_of(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_the_number_of_workers_changes_nothing(config, tmp_path):
    outcomes = [make(config, tmp_path / str(n), workers=n) for n in (1, 2)]
    assert [o.num_made for o in outcomes] == [24, 24]
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    manifests = [outcome.manifest.read_text() for outcome in outcomes]
    assert manifests[0] == manifests[1]


def test_one_recording_made_alone_is_the_same(config, tmp_path):
    make(config, tmp_path / "all")
    plan = plan_simulation(config, seed=3)
    recording = plan.group(5)[-1]
    row = render(recording, plan, tmp_path / "alone")
    path = row["audio_path"]
    assert (tmp_path / "alone" / path).read_bytes() == (tmp_path / "all" / path).read_bytes()
    assert row in rows_of(tmp_path / "all")


def test_recordings_that_are_chosen_are_as_among_all_and_the_rest_can_follow(config, tmp_path):
    make(config, tmp_path / "all")
    folder = tmp_path / "chosen"
    make(config, folder, is_wanted=lambda recording: recording.split == "validation")
    chosen = [row for row in rows_of(tmp_path / "all") if row["meta"]["split"] == "validation"]
    assert 0 < len(chosen) < config.num_recordings
    assert rows_of(folder) == chosen
    make(config, folder)
    assert rows_of(folder) == rows_of(tmp_path / "all")
    assert contents(folder) == contents(tmp_path / "all")


def test_another_seed_makes_other_recordings(config, tmp_path):
    few = replace(config, num_recordings=6)
    for seed in (1, 2):
        make(few, tmp_path / str(seed), seed=seed)
    assert contents(tmp_path / "1") != contents(tmp_path / "2")


def test_recordings_are_as_long_as_their_reference_and_read_as_a_manifest(config, tmp_path):
    outcome = make(config, tmp_path)
    recordings = read_manifest(outcome.manifest)
    assert len({r.uid for r in recordings}) == 24
    for recording in recordings:
        audio, _ = soundfile.read(recording.audio_path)
        reference, _ = soundfile.read(tmp_path / recording.meta["reference_path"])
        assert len(audio) == len(reference) == round(recording.duration * 16000)
        assert 2.0 <= recording.duration <= 2.5
        if not recording.meta["distortions"]:
            assert np.array_equal(audio, reference)


def test_a_recording_too_loud_for_its_file_is_turned_down_as_its_row_says(config, tmp_path):
    loud = DistortionKind(lambda s, r, o: {}, lambda w, p, r, o: 100 * w, stage=2)
    few = replace(config, num_recordings=3, weights={"loud": 1.0}, family_share=0.0)
    few = replace(few, num_distortions=[0.0, 1.0, 0.0, 0.0])
    make(few, tmp_path, kinds={"loud": loud})
    for row in rows_of(tmp_path):
        audio, _ = soundfile.read(tmp_path / row["audio_path"])
        reference, _ = soundfile.read(tmp_path / row["meta"]["reference_path"])
        assert np.abs(audio).max() == pytest.approx(0.99, abs=1e-3)
        gain = np.abs(audio).max() / (100 * np.abs(reference).max())
        assert row["meta"]["gain"] == pytest.approx(gain, rel=0.01)


@pytest.mark.parametrize(("level_dbfs", "limited"), [([-34.0, -30.0], False), ([0.0, 6.0], True)])
def test_references_have_a_level_asked_for_as_far_as_their_peaks_allow(
    config, tmp_path, level_dbfs, limited
):
    make(replace(config, num_recordings=6, level_dbfs=level_dbfs), tmp_path)
    for path in (tmp_path / "reference").iterdir():
        reference, _ = soundfile.read(path, dtype="float32")
        if limited:
            assert np.abs(reference).max() == pytest.approx(0.9, abs=1e-3)
        else:
            assert -34.1 <= speech_level_db(reference) <= -29.9


def test_no_speaker_noise_or_response_is_on_both_sides(config, tmp_path):
    make(replace(config, num_recordings=80), tmp_path)
    sides = {"train": set(), "validation": set()}
    for row in rows_of(tmp_path):
        meta = row["meta"]
        used = sides[meta["split"]]
        used.add(meta["speaker"])
        for step in meta["distortions"]:
            params = step["params"]
            used |= {params[key] for key in ("noise", "response") if key in params}
            used |= {name.split("/")[1] for name in params.get("talkers", [])}
            if step["kind"] == "babble":
                assert not any(meta["speaker"] in name for name in params["talkers"])
    assert sides["train"]
    assert sides["validation"]
    assert not sides["train"] & sides["validation"]


def plan_synthesised(config, *, num_voices):
    """Plan recordings of synthesised speech alone."""
    config = replace(config, shares=SourceShares(0.0, 0.0, 1.0))
    return make_plan(
        config,
        read_material(config),
        seed=0,
        kinds=DISTORTIONS,
        voices=[Voice("espeak-ng", f"en+f{number}", "en") for number in range(num_voices)],
        sentences={"en": ("One.", "Two.")},
    )


def test_a_share_of_synthesised_speech_is_for_validation_by_voices_of_its_own(config):
    spoken = replace(config, num_recordings=200)
    plan = plan_synthesised(spoken, num_voices=10)
    voices = {"train": [], "validation": []}
    for recording in plan.recordings():
        voices[recording.split].append(recording.start.voice.name)
    assert len(voices["validation"]) / 200 == pytest.approx(spoken.validation_share, abs=0.1)
    assert not set(voices["train"]) & set(voices["validation"])


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_of_synthesised_speech_the_share_asked_for_is_distorted_further(config, share):
    spoken = replace(config, num_recordings=300, family_share=0.0, distorted_share=share)
    plan = plan_synthesised(spoken, num_voices=4)
    distorted = [bool(recording.chain) for recording in plan.recordings()]
    assert np.mean(distorted) == pytest.approx(share, abs=0.05)


def test_a_family_shares_everything_but_one_strength(config, tmp_path):
    make(config, tmp_path)
    families = {}
    for row in rows_of(tmp_path):
        if row["meta"]["family"]:
            families.setdefault(row["meta"]["family"], []).append(row)
    assert families
    for members in families.values():
        assert len({row["reference_id"] for row in members}) == 1
        steps = [[(s["kind"], s["seed"]) for s in r["meta"]["distortions"]] for r in members]
        assert all(step == steps[0] for step in steps)
        strengths = [row["meta"]["strength"] for row in members]
        assert strengths == sorted(strengths)


def test_no_family_is_shared_by_simulations_of_other_seeds_or_settings(config, tmp_path):
    simulations = {
        "one": (config, 3),
        "another seed": (config, 4),
        "milder": (replace(config, severest=0.5), 3),
    }
    families = []
    for name, (settings, seed) in simulations.items():
        make(settings, tmp_path / name, seed=seed)
        families.append({row["meta"]["family"] for row in rows_of(tmp_path / name)} - {None})
    assert all(families)
    assert len(set.union(*families)) == sum(map(len, families))


def test_an_interrupted_run_goes_on_where_it_stopped(config, tmp_path):
    make(config, tmp_path / "whole")
    folder = tmp_path / "resumed"
    make(config, folder)
    part = folder / "rows.part.jsonl"
    lines = part.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[:10]) + lines[10][:40])
    (folder / "manifest.jsonl").unlink()
    kept = folder / json.loads(lines[0])["audio_path"]
    before = kept.stat().st_mtime_ns
    make(config, folder)
    assert rows_of(folder) == rows_of(tmp_path / "whole")
    assert kept.stat().st_mtime_ns == before


def test_two_runs_in_one_folder_are_refused(config, tmp_path):
    with lock_folder(tmp_path), pytest.raises(FileLockedError, match="another run is writing"):
        make(config, tmp_path)
    assert not list(tmp_path.iterdir())
    make(config, tmp_path)


def test_a_folder_of_another_simulation_is_refused(config, tmp_path):
    small = replace(config, num_recordings=2)
    make(small, tmp_path)
    with pytest.raises(ConfigError, match=r"other settings \(crops\)"):
        make(replace(small, crops=2), tmp_path)


def take_out_material_digest(folder):
    """Leave a simulation as earlier versions began it."""
    path = folder / "simulation.json"
    settings = json.loads(path.read_text())
    del settings["material"]
    path.write_text(json.dumps(settings))


def add(path, speech):
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, speech(2.2, seed=9), 16000)


@pytest.mark.parametrize("place", ["speech/new/0.wav", "speech/speaker0/9.wav", "noise/9.wav"])
def test_a_simulation_whose_folders_changed_is_refused(place, config, material, tmp_path, speech):
    home = tmp_path / "material"
    shutil.copytree(material, home)
    folders = {"speech": [str(home / "speech")], "noise": [str(home / "noise")]}
    small = replace(config, num_recordings=2, **folders)
    make(small, tmp_path / "out")
    add(home / place, speech)
    with pytest.raises(ConfigError, match=r"simulation of other material: .* were added"):
        make(small, tmp_path / "out")
    (home / place).unlink()
    assert make(small, tmp_path / "out").num_made == 2


@pytest.mark.parametrize("kind", ["speech", "noise", "rir"])
@pytest.mark.parametrize("place", ["", "degraded", "../other/../{kind}/degraded"])
def test_an_output_among_the_material_is_refused(kind, place, config, material, tmp_path):
    shutil.copytree(material, tmp_path / "m")
    folder = tmp_path / "m" / kind
    given = replace(config, **{"responses" if kind == "rir" else kind: [str(folder)]})
    (tmp_path / "link").symlink_to(folder)
    output = folder / place.format(kind=kind)
    before = sorted(folder.rglob("*"))
    for way in (output, tmp_path / "link" / "x"):
        with pytest.raises(ConfigError, match=f"would be inside .*{kind}, a folder of material"):
            make(given, way)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["audio", "reference"])
def test_material_where_an_output_writes_is_refused(name, config, material, tmp_path):
    shutil.copytree(material / "speech", tmp_path / name)
    with pytest.raises(ConfigError, match=f"would be inside .*{name}, a folder of material"):
        make(replace(config, speech=[str(tmp_path / name)]), tmp_path)


@pytest.mark.parametrize("kind", ["speech", "noise", "rir"])
def test_material_among_which_is_a_simulation_is_refused(kind, config, material, tmp_path):
    home = tmp_path / "m"
    shutil.copytree(material, home)
    folders = {"speech": "speech", "noise": "noise", "responses": "rir"}
    given = replace(config, num_recordings=1, **{k: [str(home / v)] for k, v in folders.items()})
    make(given, tmp_path / "out")
    shutil.move(tmp_path / "out", home / kind / "out")
    with pytest.raises(MissingMaterialError, match=rf"{kind}/out holds what urgentmos simulate"):
        make(given, tmp_path / "again")


def test_clean_references_of_a_simulation_can_be_speech(config, tmp_path):
    few = replace(config, num_recordings=8, weights={"mnru": 1.0})
    make(few, tmp_path / "out")
    again = replace(few, speech=[str(tmp_path / "out" / "reference")])
    assert make(again, tmp_path / "again").num_made == 8


def test_a_simulation_whose_sentences_or_voices_changed_is_another(config, tmp_path):
    plans = [plan_synthesised(config, num_voices=number) for number in (4, 5)]
    other = replace(plans[0], sentences={"en": ("One.", "Three.")})
    assert len({material_digest(plan) for plan in [*plans, other]}) == 3
    assert material_digest(plan_synthesised(config, num_voices=4)) == material_digest(plans[0])


def test_a_simulation_begun_without_a_digest_goes_on_and_gets_one(config, tmp_path):
    small = replace(config, num_recordings=2)
    make(small, tmp_path)
    before = (tmp_path / "simulation.json").read_text()
    take_out_material_digest(tmp_path)
    make(small, tmp_path)
    assert (tmp_path / "simulation.json").read_text() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_damaged_settings_of_a_simulation_are_told(config, tmp_path, content):
    (tmp_path / "simulation.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"simulation\.json: .*; it tells which simulation"):
        make(config, tmp_path)


@pytest.mark.parametrize("line", [b"{broken", b"1", b'{"meta": {}}', b"\x00\x00", b"\xff"])
def test_a_damaged_row_of_an_earlier_run_is_told_and_can_be_taken_out(config, tmp_path, line):
    small = replace(config, num_recordings=2)
    make(small, tmp_path)
    part = tmp_path / "rows.part.jsonl"
    whole = part.read_bytes()
    part.write_bytes(line + b"\n" + whole)
    with pytest.raises(ManifestError, match=r"rows\.part\.jsonl.*: .*take out what is damaged"):
        make(small, tmp_path)
    part.write_bytes(whole)
    assert make(small, tmp_path).num_made == 2


def failing(waveform, params, rng, sources):
    raise ValueError("out of order")


def test_a_failed_recording_is_told_and_tried_again(config, tmp_path):
    broken = DistortionKind(lambda strength, rng, sources: {}, failing, stage=1)
    config = replace(config, num_recordings=8, extra_weights={"broken": 2.0})
    outcome = make(config, tmp_path, kinds=DISTORTIONS | {"broken": broken})
    assert outcome.failed
    assert outcome.num_made + len(outcome.failed) == 8
    told = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
    assert {row["id"]: row["reason"] for row in told} == dict(outcome.failed)
    assert all(row["reason"] == "ValueError: out of order" for row in told)
    mended = replace(broken, apply=lambda waveform, params, rng, sources: 0.5 * waveform)
    again = make(config, tmp_path, kinds=DISTORTIONS | {"broken": mended})
    assert again.num_made == 8
    assert not again.failed


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_an_unknown_kind_is_named(weight, config, tmp_path):
    with pytest.raises(ConfigError, match="opuss"):
        make(replace(config, extra_weights={"opuss": weight}), tmp_path)


def test_a_kind_without_its_tool_is_refused_or_left_out(config, tmp_path):
    kind = replace(DISTORTIONS["mnru"], tools=("no-such-codec",))
    kinds = DISTORTIONS | {"rare": kind}
    config = replace(config, num_recordings=3, extra_weights={"rare": 1.0})
    with pytest.raises(MissingToolError, match="rare needs no-such-codec"):
        make(config, tmp_path, kinds=kinds)
    outcome = make(replace(config, skip_missing=True), tmp_path, kinds=kinds)
    assert outcome.skipped == {"rare": ["no-such-codec"]}


def test_a_kind_without_its_material_is_named(config, tmp_path):
    with pytest.raises(MissingMaterialError, match="measured_room needs response"):
        make(replace(config, responses=[]), tmp_path)


def test_a_kind_left_out_for_its_material_is_told(config, tmp_path):
    few = replace(config, responses=[], num_recordings=2, skip_missing=True)
    lacking = {"measured_room": ["responses for training and validation"]}
    assert make(few, tmp_path).skipped == lacking


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (np.zeros(35200), "ValueError: wav/0.wav is silent from 0.0 to 2.2 s"),
        (np.full(35200, np.nan), f"wav{os.sep}0.wav: NaN samples, the first at 0.000 s"),
    ],
)
def test_speech_that_cannot_be_used_is_named(samples, told, config, tmp_path):
    (tmp_path / "wav").mkdir()
    soundfile.write(tmp_path / "wav" / "0.wav", samples, 16000, subtype="FLOAT")
    config = replace(config, speech=[str(tmp_path / "wav")], num_distortions=[1.0, 0.0, 0.0, 0.0])
    (reason,) = set(make(config, tmp_path / "out").failed.values())
    assert reason.endswith(told)


def killing(waveform, params, rng, sources):
    os.kill(os.getpid(), signal.SIGKILL)


def erring(waveform, params, rng, sources):
    raise TypeError("a fault of the kind itself")


@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
@pytest.mark.parametrize(
    ("apply", "told"),
    [
        (killing, r"killed \(signal 9; out of memory, perhaps\)"),
        (erring, "an error that nothing foresees: it stands above"),
    ],
)
def test_a_worker_that_ends_early_says_what_ended_it(apply, told, config, tmp_path, capfd):
    kind = DistortionKind(lambda strength, rng, sources: {}, apply, stage=1)
    config = replace(config, num_recordings=8, weights={"mnru": 1.0, "fatal": 1.0})
    with pytest.raises(WorkerDiedError, match=told):
        make(config, tmp_path, workers=2, kinds=DISTORTIONS | {"fatal": kind})
    assert ("TypeError: a fault of the kind itself" in capfd.readouterr().err) == (apply is erring)


def test_several_workers_are_refused_where_nothing_forks(config, tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(ConfigError, match="2 workers: this system forks no processes; use 1"):
        make(config, tmp_path / "made", workers=2)
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
def test_workers_do_not_outlive_a_killed_run(config, tmp_path):
    many = replace(config, num_recordings=2000, weights={"mnru": 1.0}, skip_missing=True)
    alive, held = os.pipe()
    context = multiprocessing.get_context("fork")
    run = context.Process(target=make, args=(many, tmp_path), kwargs={"workers": 2})
    run.start()
    os.close(held)
    while not (tmp_path / "audio").exists():
        time.sleep(0.05)
    run.kill()
    # The other end is held by the run and its workers; when the last has ended there is nothing
    # more to read.
    ended, _, _ = select.select([alive], [], [], 60)
    os.close(alive)
    assert ended


def test_processed_speech_comes_as_it_is_and_with_its_reference(config, material, tmp_path, speech):
    manifest = tmp_path / "list.jsonl"
    rows = []
    for number in range(3):
        for kind in ("processed", "reference"):
            path = tmp_path / f"{kind}{number}.wav"
            soundfile.write(path, speech(2.2, seed=number), 16000)
            row = {"path": path.name, "kind": kind, "speaker": f"s{number}", "system": "vocoder"}
            row["reference"] = f"reference{number}.wav" if kind == "processed" else None
            rows.append(row)
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(config, manifest=str(manifest), num_recordings=6)
    make(config, tmp_path / "out")
    made = rows_of(tmp_path / "out")
    assert [row["system_id"] for row in made] == ["vocoder"] * 3 + ["clean"] * 3
    assert made[0]["reference_id"] == made[3]["reference_id"]
    assert made[0]["meta"]["corpus"] == "undistorted"
    assert all(row["meta"]["reference_path"] for row in made)


@pytest.mark.parametrize("delay", [-300, 740])
def test_processed_speech_that_is_late_or_early_is_aligned_with_its_reference(
    config, tmp_path, delay
):
    clean = probe()
    late = np.pad(clean, (max(delay, 0), 0))[max(-delay, 0) :]
    for name, waveform in (("reference", clean), ("late", late)):
        soundfile.write(tmp_path / f"{name}.wav", waveform, 16000)
    rows = [
        {"path": "reference.wav", "kind": "clean", "speaker": "a"},
        {
            "path": "late.wav",
            "kind": "processed",
            "speaker": "a",
            "reference": "reference.wav",
        },
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shares = SourceShares(clean=0.0, processed=1.0, synthesised=0.0)
    config = replace(config, speech=[], manifest=str(manifest), shares=shares, num_recordings=1)
    make(replace(config, weights={"mnru": 1.0}), tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    audio, _ = soundfile.read(tmp_path / "out" / row["audio_path"])
    reference, _ = soundfile.read(tmp_path / "out" / row["meta"]["reference_path"])
    assert len(audio) <= len(reference)
    inner = slice(400, len(audio) - 400)
    np.testing.assert_allclose(audio[inner], reference[inner], atol=1e-3)


def test_processed_speech_without_a_crop_of_its_reference_is_told(config, tmp_path, speech):
    for name, seconds in (("whole", 9.0), ("begun", 2.2)):
        soundfile.write(tmp_path / f"{name}.wav", speech(seconds), 16000)
    rows = [
        {"path": "whole.wav", "kind": "clean", "speaker": "a"},
        {"path": "begun.wav", "kind": "processed", "speaker": "a", "reference": "whole.wav"},
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shares = SourceShares(clean=0.0, processed=1.0, synthesised=0.0)
    config = replace(
        config, speech=[], manifest=str(manifest), shares=shares, weights={"mnru": 1.0}
    )
    outcome = make(config, tmp_path / "out")
    assert outcome.num_made
    assert all(row["duration"] > 0 for row in rows_of(tmp_path / "out"))
    reason = next(iter(outcome.failed.values()))
    assert re.search(r"begun\.wav ends before \d\.\d s, where this crop of whole\.wav", reason)


def test_speech_as_it_is_needs_nothing_else(config, tmp_path, speech):
    soundfile.write(tmp_path / "vocoded.wav", speech(2.2), 16000)
    row = {"path": "vocoded.wav", "kind": "processed", "speaker": "s", "system": "vocoder"}
    (tmp_path / "list.jsonl").write_text(json.dumps(row) + "\n")
    config = SimulationConfig(
        num_recordings=30,
        manifest=str(tmp_path / "list.jsonl"),
        speech=config.speech,
        shares=SourceShares(clean=0.5, processed=0.5, synthesised=0.0),
        num_distortions=[1.0, 0.0, 0.0, 0.0],
    )
    assert make(config, tmp_path / "out").num_made == 30
    assert {row["system_id"] for row in rows_of(tmp_path / "out")} == {"clean", "vocoder"}


def test_recordings_of_like_names_keep_their_own_reference(config, tmp_path, speech):
    places = ["one/wav/a/b.wav", "one/wav/a_b.wav", "one/wav/a/b.flac", "two/wav/a/b.wav"]
    for number, place in enumerate(places):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / place, speech(2.2, seed=number), 16000)
    folders = [str(tmp_path / "one" / "wav"), str(tmp_path / "two" / "wav")]
    weights = {"mnru": 1.0}
    config = replace(config, speech=folders, weights=weights, num_distortions=[1.0, 0.0, 0.0, 0.0])
    make(config, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert len({row["reference_id"] for row in rows}) == len(places)
    for row in rows:
        pair = (row["audio_path"], row["meta"]["reference_path"])
        audio, reference = ((tmp_path / "out" / path).read_bytes() for path in pair)
        assert audio == reference


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_unicode_are_worked_with(config, tmp_path, speech):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with (folder / os.fsdecode(b"caf\xe9.wav")).open("wb") as file:
        soundfile.write(file, speech(2.2), 16000, format="WAV")
    config = replace(config, speech=[str(folder)], weights={"mnru": 1.0}, num_recordings=2)
    for _ in range(2):
        make(config, tmp_path / "out")
    assert [row["meta"]["utterance"] for row in rows_of(tmp_path / "out")] == [
        os.fsdecode(b"caf\xe9/caf\xe9.wav")
    ] * 2


def test_noise_of_like_names_is_all_used(config, tmp_path):
    for place in ("one/noise", "two/noise"):
        (tmp_path / place).mkdir(parents=True)
        soundfile.write(tmp_path / place / "1.wav", 0.1 * np.ones(1600), 16000)
    folders = [str(tmp_path / "one" / "noise"), str(tmp_path / "two" / "noise")]
    assert len(read_material(replace(config, noise=folders)).noises) == 2


def test_names_with_line_breaks_of_unicode_survive_a_second_call(config, material, tmp_path):
    speech = tmp_path / "line\u2028break"
    speech.symlink_to(material / "speech", target_is_directory=True)
    few = replace(config, speech=[str(speech)], weights={"mnru": 1.0}, num_recordings=2)
    make(few, tmp_path / "out")
    before = contents(tmp_path / "out")
    assert make(few, tmp_path / "out").num_made == 2
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"family_versions": [3, 9]}, "family_versions: expected 1 to 8"),
        ({"family_versions": [0, 2]}, "family_versions: expected 1 to 8"),
        ({"crops": 0}, "crops: expected at least 1"),
        ({"crop_seconds": [-5.0, -4.0]}, r"crop_seconds: expected above 0, got \[-5.0, -4.0\]"),
        ({"crop_seconds": [4.0, np.inf]}, r"crop_seconds: expected \[lowest, highest\]"),
        ({"level_dbfs": [np.nan, -20.0]}, r"level_dbfs: expected \[lowest, highest\]"),
        ({"min_seconds": -1.0}, "min_seconds: expected at least 0, got -1.0"),
        ({"num_recordings": -5}, "num_recordings: expected at least 1, got -5"),
        ({"shares": SourceShares(0.0, 0.0, 0.0)}, "shares: expected one above 0"),
        ({"shares": SourceShares(1.0, -0.5, 0.0)}, "shares.processed: expected .*, got -0.5"),
        ({"num_distortions": [0.0, 0.0, 0.0, 0.0]}, "num_distortions: expected 4 weights"),
        ({"num_distortions": [-1.0, 1.0, 1.0, 1.0]}, "num_distortions.0: expected .*, got -1.0"),
        ({"weights": {"room": -1.0}}, "weights.room: expected a finite weight of at least 0"),
        ({"extra_weights": {"room": np.inf}}, "extra_weights.room: expected .*, got inf"),
        ({"extra_weights": {"room": np.nan}}, "extra_weights.room: expected .*, got nan"),
    ],
)
def test_settings_that_make_nothing_or_cannot_be_drawn_by_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        SimulationConfig(**settings)


def test_processed_speech_alone_needs_some(config, tmp_path):
    alone = replace(config, shares=SourceShares(clean=0.0, processed=1.0, synthesised=0.0))
    with pytest.raises(MissingMaterialError, match="nothing to start from: shares are"):
        make(alone, tmp_path)


def test_a_mixture_of_which_nothing_can_be_made_is_refused(config, tmp_path):
    alone = replace(config, noise=[], weights={"recorded_noise": 1.0}, skip_missing=True)
    with pytest.raises(MissingMaterialError, match="no distortion can be made"):
        make(alone, tmp_path)
