import json
import math
from pathlib import Path
from typing import Any

import pytest

from urgentmos.data.label_table import write_labels
from urgentmos.data.manifest import (
    ManifestError,
    Pair,
    Recording,
    is_pair_manifest,
    read_manifest,
    read_pairs,
    write_manifest,
    write_pairs,
)

LINE: dict[str, Any] = {
    "audio_path": "wav/a.wav",
    "uid": "s1:r1",
    "system_id": "s1",
    "reference_id": "r1",
    "duration": 2.5,
    "metrics": {"mos_overall": 3.5, "sigmos_col": 2.0, "pesq": 1.25},
    "meta": {"split": "train", "reference_path": "clean/a.wav"},
}


def write_lines(path: Path, *lines: object) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_text(text)
    return path


def test_a_public_manifest_is_written_back_as_it_was_read(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "in.jsonl", LINE, {**LINE, "uid": "s2:r1", "metrics": {}})
    write_manifest(tmp_path / "out.jsonl", read_manifest(path))
    assert (tmp_path / "out.jsonl").read_text() == path.read_text()


def test_metrics_have_our_names_in_memory_and_dimensions_of_others_are_kept(tmp_path: Path) -> None:
    (recording,) = read_manifest(write_lines(tmp_path / "m.jsonl", LINE))
    assert recording.metrics == {"mos": 3.5, "sigmos_col": 2.0, "pesq": 1.25}


def test_paths_resolve_against_the_folder_of_the_manifest(tmp_path: Path) -> None:
    (recording,) = read_manifest(write_lines(tmp_path / "m.jsonl", LINE))
    assert recording.audio_path == tmp_path / "wav/a.wav"
    assert recording.meta["reference_path"] == str(tmp_path / "clean/a.wav")


def test_a_path_outside_the_folder_is_written_absolute(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    recordings = read_manifest(write_lines(tmp_path / "m.jsonl", LINE))
    write_manifest(tmp_path / "sub/m.jsonl", recordings)
    assert read_manifest(tmp_path / "sub/m.jsonl") == recordings


def test_names_that_are_not_unicode_are_written_and_read_back(tmp_path: Path) -> None:
    a, b = tmp_path / "\udcff.wav", tmp_path / "ü.wav"
    write_manifest(tmp_path / "m.jsonl", [Recording(a, "u", "s", "r", 1.0)])
    (recording,) = read_manifest(tmp_path / "m.jsonl")
    assert recording.audio_path == a
    pair = Pair(a, b, 1.0, (1.0, 1.0))
    write_pairs(tmp_path / "p.jsonl", [pair])
    assert read_pairs(tmp_path / "p.jsonl") == [pair]


def test_pairs_whose_score_could_not_be_read_back_are_not_written(tmp_path: Path) -> None:
    pairs = [Pair(Path("a.wav"), Path("b.wav"), score, (1.0, 1.0)) for score in (4.0, -32.6)]
    with pytest.raises(ManifestError, match=r"32\.6 apart, and comparison scores are between -4"):
        write_pairs(tmp_path / "p.jsonl", pairs)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    manifest = write_lines(tmp_path / "m.jsonl", LINE)
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbfuid,sdr\ns1:r1,7\n")
    (recording,) = read_manifest(manifest, labels=tmp_path / "labels.csv")
    assert recording.metrics["sdr"] == 7.0


def test_nan_and_null_labels_are_missing(tmp_path: Path) -> None:
    line = {**LINE, "metrics": {"mos_overall": math.nan, "pesq": None, "sdr": 3}}
    (recording,) = read_manifest(write_lines(tmp_path / "m.jsonl", line))
    assert recording.metrics == {"sdr": 3.0}


def test_label_errors_that_are_null_are_none(tmp_path: Path) -> None:
    line = {**LINE, "meta": {"label_errors": None}}
    (recording,) = read_manifest(write_lines(tmp_path / "m.jsonl", line))
    assert recording.meta == {"label_errors": {}}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in LINE.items() if name != key}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not JSON"),
        ("path,mos", "a manifest has one object per line"),
        ([1], "expected an object, got list"),
        (without("uid"), "field 'uid' is missing"),
        (
            {**without("metrics"), "rating": 4},
            "a rating on a five-point scale stands in metrics.mos",
        ),
        ({**LINE, "duratoin": 1}, "unknown field 'duratoin'; did you mean 'duration'"),
        ({**LINE, "duration": "2"}, "duration: expected a finite number, got '2'"),
        ({**LINE, "duration": 0}, "duration: expected seconds above 0, got 0"),
        ({**LINE, "duration": True}, "duration: expected a finite number, got True"),
        ({**LINE, "uid": ""}, "uid: expected a non-empty string"),
        ({**LINE, "metrics": []}, "metrics: expected an object"),
        ({**LINE, "metrics": {"peqs": 1}}, "unknown metric 'peqs'; did you mean 'pesq'"),
        ({**LINE, "metrics": {"pesq": math.inf}}, "metrics.pesq: expected a finite number"),
        ({**LINE, "metrics": {"mos": 1, "mos_overall": 2}}, "'mos' is given under two names"),
        ({**LINE, "meta": 3}, "meta: expected an object"),
        ({**LINE, "meta": {"label_errors": "x"}}, "meta.label_errors: expected an object that has"),
        ({**LINE, "meta": {"label_errors": {"lsd": 1}}}, "a reason for each missing label, got"),
    ],
)
def test_a_broken_line_is_named_with_its_place_and_field(
    tmp_path: Path, line: object, told: str
) -> None:
    path = write_lines(tmp_path / "m.jsonl", {**LINE, "uid": "first"}, line)
    with pytest.raises(ManifestError) as error:
        read_manifest(path)
    assert f"{path}:2: " in str(error.value)
    assert told in str(error.value)


def test_a_uid_used_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "m.jsonl", LINE, "", LINE)
    with pytest.raises(ManifestError, match=r"m.jsonl:3: uid 's1:r1' is already used on line 1"):
        read_manifest(path)


@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz"])
def test_a_label_table_merges_back_onto_its_manifest(tmp_path: Path, name: str) -> None:
    path = write_lines(tmp_path / "m.jsonl", LINE, {**LINE, "uid": "b", "metrics": {"sdr": -3.25}})
    write_labels(tmp_path / name, read_manifest(path))
    bare = write_lines(
        tmp_path / "bare.jsonl", {**LINE, "metrics": {}}, {**LINE, "uid": "b", "metrics": {}}
    )
    assert read_manifest(bare, labels=tmp_path / name) == read_manifest(path)


def test_a_later_label_table_wins_and_an_empty_cell_changes_nothing(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "m.jsonl", LINE)
    write_lines(tmp_path / "1.csv", "uid,pesq,sdr", "s1:r1,2,4")
    write_lines(tmp_path / "2.csv", "uid,pesq,sdr", "s1:r1,,5", "elsewhere,1,1")
    (recording,) = read_manifest(path, labels=[tmp_path / "1.csv", tmp_path / "2.csv"])
    assert (recording.metrics["pesq"], recording.metrics["sdr"]) == (2.0, 5.0)


def test_a_label_table_of_another_corpus_is_refused(tmp_path: Path) -> None:
    table = write_lines(tmp_path / "labels.csv", "uid,pesq", "else,1")
    with pytest.raises(ManifestError, match="none of its uids"):
        read_manifest(write_lines(tmp_path / "m.jsonl", LINE), labels=table)


def test_pairs_are_written_back_as_they_were_read(tmp_path: Path) -> None:
    line = {
        "audio_paths": ["a.wav", "b.wav"], "metrics": {"mos_overall": -1.0}, "durations": [1.0, 2.5]
    }  # fmt: skip
    path = write_lines(tmp_path / "p.jsonl", line)
    pairs = read_pairs(path)
    assert pairs == [Pair(tmp_path / "a.wav", tmp_path / "b.wav", -1.0, (1.0, 2.5))]
    write_pairs(tmp_path / "out.jsonl", pairs)
    assert (tmp_path / "out.jsonl").read_text() == path.read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"audio_paths": ["a.wav", "a.wav"]}, "audio_paths: a recording is paired with itself"),
        ({"audio_paths": ["a.wav"]}, "audio_paths: expected a list of two"),
        ({"metrics": {}}, "metrics: expected a number for 'mos_overall'"),
        ({"durations": [1, -1]}, "durations: expected seconds above 0"),
    ],
)
def test_a_broken_pair_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    line = {"audio_paths": ["a.wav", "b.wav"], "metrics": {"mos_overall": 1}, "durations": [1, 1]}
    with pytest.raises(ManifestError) as error:
        read_pairs(write_lines(tmp_path / "p.jsonl", {**line, **change}))
    assert f"p.jsonl:1: {told}" in str(error.value)


def test_labels_that_are_nan_in_memory_are_not_written(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.wav", "u", "s", "r", 1.0, {"pesq": math.nan, "sdr": 1.0})
    write_manifest(tmp_path / "m.jsonl", [recording])
    (read,) = read_manifest(tmp_path / "m.jsonl")
    assert read.metrics == {"sdr": 1.0}


def test_a_manifest_of_pairs_is_told_from_one_of_recordings(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    write_pairs(path, [Pair(Path("a"), Path("b"), 1.0, (1.0, 1.0))])
    assert is_pair_manifest(path)
    assert not is_pair_manifest(write_lines(path, LINE))
    for content in (b"", b"\n", b"\xff\xfe", b"[1]\n", b"{"):
        path.write_bytes(content)
        assert not is_pair_manifest(path)
