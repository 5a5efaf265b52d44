import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.data.manifest import ManifestError
from urgentmos.simulate.config import SimulationConfig
from urgentmos.simulate.material import (
    assign_splits,
    read_material,
    split_sources,
    split_utterances,
    tell_split,
)
from urgentmos.simulate.sources import MissingMaterialError


@pytest.mark.parametrize(
    "row",
    [
        {"path": "a.wav"},
        {"kind": "noise"},
        {"path": "a", "kind": "x"},
        {"path": "a", "kind": ["noise"]},
        *({"path": path, "kind": "clean"} for path in ("", ".", 5, ["a"])),
    ],
)
def test_a_row_without_a_path_or_a_known_kind_is_named(tmp_path, row):
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps(row) + "\n")
    with pytest.raises(ManifestError, match=r"manifest\.jsonl:1: expected a 'path', and a 'kind'"):
        read_material(SimulationConfig(manifest=str(manifest)))


def test_speech_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("none")
    with pytest.raises(
        MissingMaterialError, match=r"a\.wav cannot be used: not readable as audio: .*take it out"
    ):
        read_material(SimulationConfig(speech=[str(tmp_path)]))


def test_all_speech_that_cannot_be_read_is_named_at_once(tmp_path):
    for number in range(12):
        (tmp_path / f"{number:02}.wav").write_text("none")
    with pytest.raises(
        MissingMaterialError, match=r"/00\.wav cannot be .* 11 more: .*/01\.wav, .*/09\.wav, …$"
    ):
        read_material(SimulationConfig(speech=[str(tmp_path)]))


def test_speech_that_does_not_state_its_length_is_measured(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(40000) + 0.1, 16000)
    content = bytearray(path.read_bytes())
    # As written to a pipe: STREAMINFO has 0 for the number of samples.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    (utterance,) = read_material(SimulationConfig(speech=[str(tmp_path)])).clean
    assert utterance.seconds == 2.5


def material_of(tmp_path, *rows):
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps({"seconds": 3.0, **row}) + "\n" for row in rows))
    return read_material(SimulationConfig(manifest=str(manifest)))


WHOLE = {"path": "x/y/a.wav", "kind": "processed", "seconds": 3.0}
OTHER = {"path": "x/y/b.wav", "kind": "clean", "seconds": 3.0}


def refusal(call):
    try:
        call()
    except (ManifestError, MissingMaterialError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", ["clean", "processed", "noise"])
@pytest.mark.parametrize(
    "name",
    [
        "path", "kind", "split", "seconds", "speaker", "source", "source_repo", "source_path",
        "language", "system", "reference",
    ],
)  # fmt: skip
def test_a_row_is_taken_or_refused_in_words_whatever_a_field_holds(tmp_path, kind, name):
    def read(value):
        material = material_of(tmp_path, {**WHOLE, "kind": kind, name: value}, OTHER)
        split_sources(
            material, split_utterances(material, validation_share=0.5), validation_share=0.5
        )

    for value in (None, "", 5, -1, 0, 1.5, math.nan, 10**400, True, "two", "\0", ["a"], {"a": 1}):
        told = refusal(lambda value=value: read(value))
        # Where its duration is not stated, the file is looked for.
        assert told is None or re.search(rf"jsonl:1: .*{name}|a\.wav cannot be used", told), value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": "two"}, "seconds: expected a finite number, got 'two'"),
        ({"seconds": 0}, "seconds: expected seconds above 0, got 0"),
        ({"reference": 5}, "reference: expected a non-empty string, got 5"),
        ({"source_path": 5}, "source_path: expected a non-empty string, got 5"),
        ({"split": "dev"}, "split: expected 'train', 'validation', or 'test', which is left out"),
    ],
)
def test_a_field_that_cannot_be_is_told_with_its_line(tmp_path, change, message):
    with pytest.raises(ManifestError, match=rf"manifest\.jsonl:2: {message}"):
        material_of(tmp_path, OTHER, {**WHOLE, **change})


def test_speakers_may_be_numbers(tmp_path):
    (utterance,) = material_of(tmp_path, {**OTHER, "speaker": 0}).clean
    assert (utterance.speaker, utterance.group) == ("0", "0")


@pytest.mark.parametrize("stated", ["train", "test"])
def test_what_is_kept_for_testing_is_left_out_and_told(tmp_path, stated):
    rows = [
        {"path": f"{kind}/{n}.wav", "kind": kind, "speaker": f"{n}", "split": "train"}
        for kind in ("clean", "processed", "noise", "rir")
        for n in range(3)
    ]
    for row in rows[::3]:
        row["split"] = stated
    follows = {"path": "processed/x.wav", "kind": "processed", "reference": "clean/0.wav"}
    material = material_of(tmp_path, *rows, follows)
    left_out = stated == "test"
    assert material.num_for_testing == 5 * left_out
    names = [u.name for u in (*material.clean, *material.processed)]
    assert {"clean/0.wav", "processed/0.wav", "processed/x.wav"}.isdisjoint(names) == left_out
    assert len(names) == 7 - 3 * left_out
    assert len(material.noises) == len(material.responses) == 3 - left_out


def test_speech_that_is_all_kept_for_testing_is_told(tmp_path):
    with pytest.raises(
        MissingMaterialError, match=r"manifest\.jsonl; left out: 1 kept for testing"
    ):
        material_of(tmp_path, {**OTHER, "split": "test"})


@pytest.mark.parametrize("speaker", [None, "another voice"])
def test_no_reference_is_on_both_sides(tmp_path, speaker):
    clean = [
        {"path": f"clean/x/{n}.wav", "kind": "clean", "speaker": f"speaker {n}"} for n in range(8)
    ]
    processed = [
        {
            "path": f"processed/{system}/{number}.wav",
            "kind": "processed",
            "speaker": speaker and f"{speaker} {number}",
            "reference": reference,
        }
        for system in ("one", "two")
        for number, reference in enumerate([*(row["path"] for row in clean), "unlisted.wav"])
    ]
    material = material_of(tmp_path, *clean, *processed)
    splits = split_utterances(material, validation_share=0.5)
    assert set(splits.values()) == {"train", "validation"}
    for row in processed:
        others = [other for other in processed if other["reference"] == row["reference"]]
        sides = {splits[other["path"]] for other in others}
        assert sides == {splits.get(row["reference"], splits[row["path"]])}


def test_outputs_of_an_unnamed_speaker_are_on_the_side_stated_for_their_reference(tmp_path):
    for side in ("train", "validation"):
        material = material_of(
            tmp_path,
            {"path": "clean/a.wav", "kind": "clean", "speaker": "a", "split": side},
            {"path": "processed/x/a.wav", "kind": "processed", "reference": "clean/a.wav"},
        )
        splits = split_utterances(material, validation_share=0.5)
        assert splits["processed/x/a.wav"] == side


def test_outputs_stay_with_their_reference_where_all_are_of_one_speaker(tmp_path):
    rows = [
        {"path": f"clean/x/{n}.wav", "kind": "clean", "speaker": "the only one"} for n in range(6)
    ]
    processed = [
        {**row, "path": f"processed/x/{n}.wav", "kind": "processed", "reference": row["path"]}
        for n, row in enumerate(rows)
    ]
    material = material_of(tmp_path, *rows, *processed)
    splits = split_utterances(material, validation_share=0.5)
    assert sorted(splits.values()) == ["train"] * 6 + ["validation"] * 6
    assert all(splits[row["path"]] == splits[row["reference"]] for row in processed)


def test_a_split_that_the_manifest_states_is_nothing_to_tell(tmp_path):
    rows = [
        {"path": f"{side}.wav", "kind": "clean", "speaker": "a", "split": side}
        for side in ("train", "validation")
    ]
    material = material_of(tmp_path, *rows)
    splits = split_utterances(material, validation_share=0.5)
    assert splits == {"train.wav": "train", "validation.wav": "validation"}
    assert tell_split(material, splits, validation_share=0.5) is None


@pytest.mark.parametrize(
    ("num_groups", "share", "num_for_validation"),
    [(10, 0.3, 3), (4, 0.05, 1), (4, 0.95, 3), (4, 0.0, 0), (1, 0.1, 0)],
)
def test_each_side_keeps_a_group_where_a_share_is_asked_for_and_there_are_two(
    num_groups: int, share: float, num_for_validation: int
) -> None:
    splits = assign_splits(map(str, range(num_groups)), validation_share=share)
    assert list(splits.values()).count("validation") == num_for_validation


@pytest.mark.parametrize(
    ("num_speakers", "num_for_validation"), [(1, 1), (2, 1), (3, 1), (4, 2), (14, 2), (30, 3)]
)
def test_each_side_keeps_two_speakers_where_there_are_four(
    tmp_path: Path, num_speakers: int, num_for_validation: int
) -> None:
    rows = [
        {"path": f"clean/x/{n}{take}.wav", "kind": "clean", "speaker": f"{n}", "seconds": 3.0}
        for n in range(num_speakers)
        for take in "ab"
    ]
    splits = split_utterances(material_of(tmp_path, *rows), validation_share=0.1)
    # A sole speaker's recordings are split instead.
    held = {name[:-5] if num_speakers > 1 else name for name, s in splits.items() if s != "train"}
    assert len(held) == num_for_validation


def test_speech_of_exactly_the_shortest_duration_is_used(tmp_path):
    rows = [
        {"path": f"clean/x/{seconds}.wav", "kind": "clean", "seconds": seconds}
        for seconds in (1.99, 2.0)
    ]
    material = material_of(tmp_path, *rows)
    assert [utterance.seconds for utterance in material.clean] == [2.0]
    assert material.num_short == 1
