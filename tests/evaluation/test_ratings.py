import json
import math
from pathlib import Path

import numpy as np
import pytest

from urgentmos.data.manifest import ManifestError
from urgentmos.evaluation.ratings import RatingError, read_rated_corpora

RATED = {
    "audio_path": "a/c0_f1.flac",
    "uid": "c0:f1",
    "system_id": "c0",
    "reference_id": "f1",
    "duration": 4.0,
    "rating": 3.5,
    "scale": "ACR 1-5",
    "votes": 7,
    "corpus": "p835",
}
PUBLIC = {
    "audio_path": "a.wav",
    "uid": "s:r",
    "system_id": "s",
    "reference_id": "r",
    "duration": 1.0,
    "metrics": {"mos_overall": 4.0, "pesq": 2.0},
    "meta": {"split": "validation"},
}


def _write(folder: Path, *records: dict[str, object]) -> Path:
    path = folder / "rated.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_one_manifest_holds_corpora_on_their_own_scales(tmp_path: Path) -> None:
    mushra = {**RATED, "scale": "MUSHRA 0-100", "rating": 60, "corpus": "lj"}
    first, second = read_rated_corpora(_write(tmp_path, RATED, mushra))
    assert (first.name, first.scale, first.ratings.tolist()) == ("p835", (1.0, 5.0), [3.5])
    assert (second.name, second.scale, second.ratings.tolist()) == ("lj", (0.0, 100.0), [60.0])
    assert first.recordings[0].audio_path == tmp_path / "a/c0_f1.flac"
    assert first.recordings[0].meta["votes"] == 7


def test_a_reference_lies_beside_its_manifest_in_either_form(tmp_path: Path) -> None:
    meta = {"reference_path": "clean/f1.flac"}
    for record in ({**RATED, **meta}, {**RATED, "meta": meta}, {**PUBLIC, "meta": meta}):
        (corpus,) = read_rated_corpora(_write(tmp_path, record))
        assert corpus.recordings[0].meta["reference_path"] == str(tmp_path / "clean/f1.flac")
    with pytest.raises(ManifestError, match=r"rated.jsonl:1: reference_path: expected a non-empty"):
        read_rated_corpora(_write(tmp_path, {**RATED, "reference_path": 3}))


@pytest.mark.parametrize(
    ("text", "scale"),
    [("ACR-1-5", (1, 5)), ("CCR -3-3", (-3, 3)), ("-3 - 3", (-3, 3)), ("ACR 0.5-10", (0.5, 10))],
)
def test_a_minus_of_a_scale_is_none_within_a_word(
    tmp_path: Path, text: str, scale: tuple[float, float]
) -> None:
    (corpus,) = read_rated_corpora(_write(tmp_path, {**RATED, "scale": text, "rating": 2}))
    assert corpus.scale == scale


def test_delta_is_the_same_share_of_every_scale(tmp_path: Path) -> None:
    mushra = {**RATED, "scale": "MUSHRA 0-100", "rating": 60, "corpus": "lj"}
    first, second = read_rated_corpora(_write(tmp_path, RATED, mushra))
    assert (first.rescale_delta(0.5), second.rescale_delta(0.5)) == (0.5, 12.5)


def test_public_manifest_gives_ratings_and_labels_named_after_the_file(tmp_path: Path) -> None:
    unlabelled = {**PUBLIC, "uid": "s:q", "metrics": {"pesq": 3.0}}
    (corpus,) = read_rated_corpora(_write(tmp_path, PUBLIC, unlabelled))
    assert corpus.name == "rated"
    np.testing.assert_array_equal(corpus.ratings, [4.0, np.nan])
    np.testing.assert_array_equal(corpus.labels("pesq"), [2.0, 3.0])


def test_a_corpus_that_is_null_is_named_after_the_file(tmp_path: Path) -> None:
    for record in ({**RATED, "corpus": None}, {**PUBLIC, "meta": {"corpus": None}}):
        (corpus,) = read_rated_corpora(_write(tmp_path, record))
        assert corpus.name == "rated"


def test_a_split_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    path = _write(tmp_path, PUBLIC)
    assert len(read_rated_corpora(path, split="validation")[0].recordings) == 1
    with pytest.raises(RatingError, match=r"split 'test'.*\['validation'\]"):
        read_rated_corpora(path, split="test")
    for unstated in (RATED, {**RATED, "split": None}):
        with pytest.raises(RatingError, match="split 'test'; no recording states one"):
            read_rated_corpora(_write(tmp_path, unstated), split="test")


def test_what_may_stand_beside_a_rating_may_stand_in_its_meta(tmp_path: Path) -> None:
    bare = {name: RATED[name] for name in RATED if name not in ("corpus", "scale")}
    metas = [
        {"corpus": "a", "split": "validation", "scale": "MUSHRA 0-100"},
        {"corpus": "b", "split": "validation"},
        {"corpus": "b", "split": "test"},
    ]
    rows = [{**bare, "uid": str(i), "meta": meta} for i, meta in enumerate(metas)]
    first, second = read_rated_corpora(_write(tmp_path, *rows), split="validation")
    assert (first.name, first.scale, len(first.recordings)) == ("a", (0.0, 100.0), 1)
    assert (second.name, second.scale, len(second.recordings)) == ("b", (1.0, 5.0), 1)
    with pytest.raises(RatingError, match=r"it has the splits \['test', 'validation'\]"):
        read_rated_corpora(_write(tmp_path, *rows), split="train")


@pytest.mark.parametrize("meta", [None, {}, {"corpus": None}, {"corpus": "p835", "votes": 7}])
def test_what_meta_does_not_state_or_repeats_stands_beside_the_rating(
    tmp_path: Path, meta: object
) -> None:
    (corpus,) = read_rated_corpora(_write(tmp_path, {**RATED, "meta": meta}))
    assert corpus.name == "p835"
    stated = {"scale": "ACR 1-5", "votes": 7, "corpus": "p835"}
    assert corpus.recordings[0].meta == stated


def test_a_field_that_is_null_beside_the_rating_is_that_of_meta(tmp_path: Path) -> None:
    record = {**RATED, "corpus": None, "meta": {"corpus": "p835"}}
    assert read_rated_corpora(_write(tmp_path, record))[0].name == "p835"


def test_a_meta_that_says_otherwise_or_is_no_object_is_refused(tmp_path: Path) -> None:
    told = r"rated.jsonl:1: 'corpus' is 'p835' beside the rating and 'lj' in 'meta'; state it once"
    with pytest.raises(RatingError, match=told):
        read_rated_corpora(_write(tmp_path, {**RATED, "meta": {"corpus": "lj"}}))
    with pytest.raises(ManifestError, match=r"rated.jsonl:1: meta: expected an object, got \[1\]"):
        read_rated_corpora(_write(tmp_path, {**RATED, "meta": [1]}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rating": 5.5}, r"expected a rating in 1 to 5, got 5\.5"),
        ({"rating": "good"}, "expected text and numbers"),
        ({"scale": "ACR"}, "ends with a range"),
        ({"scale": "ACR 5-1"}, "ends with a range"),
    ],
)
def test_unusable_rating_is_an_error_that_names_the_file(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = _write(tmp_path, {**RATED, **change})
    with pytest.raises(RatingError, match=message) as error:
        read_rated_corpora(path)
    assert str(path) in str(error.value)


def test_missing_field_duplicate_uid_and_empty_manifest_are_errors(tmp_path: Path) -> None:
    without = {name: value for name, value in RATED.items() if name != "system_id"}
    with pytest.raises(RatingError, match=r"rated.jsonl:2: 'system_id' is missing"):
        read_rated_corpora(_write(tmp_path, RATED, without))
    with pytest.raises(RatingError, match="uid 'c0:f1' comes twice in corpus 'p835'"):
        read_rated_corpora(_write(tmp_path, RATED, RATED))
    with pytest.raises(RatingError, match="expected recordings, got none"):
        read_rated_corpora(_write(tmp_path))


def test_a_missing_rating_is_no_rating(tmp_path: Path) -> None:
    unrated = [{**RATED, "uid": f"c{i}:f1", "rating": r} for i, r in ((1, None), (2, math.nan))]
    (corpus,) = read_rated_corpora(_write(tmp_path, RATED, *unrated))
    np.testing.assert_array_equal(corpus.ratings, [3.5, np.nan, np.nan])
    assert [list(recording.metrics) for recording in corpus.recordings] == [["mos"], [], []]


def test_ratings_on_two_scales_in_one_corpus_are_an_error(tmp_path: Path) -> None:
    other = {**RATED, "uid": "c1:f1", "scale": "MUSHRA 0-100"}
    with pytest.raises(RatingError, match="several scales"):
        read_rated_corpora(_write(tmp_path, RATED, other))
