from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from urgentmos.evaluation.ratings import read_rated_corpora
from urgentmos.evaluation.score_tables import (
    ScoreTableError,
    read_score_column,
    read_score_columns,
)


def test_tables_of_one_name_are_told_apart_by_their_paths(rated: Path) -> None:
    recordings = read_rated_corpora(rated)[0].recordings
    options = []
    for number in (1, 2):
        table = rated.parent / str(number) / "scores.csv"
        table.parent.mkdir()
        table.write_text(f"uid,mos\ns0:r0,{number}\n")
        options.append(f"{table}:mos")
    both = read_score_columns(options, recordings=recordings)
    assert [predictor.name for predictor in both] == options
    (first,) = read_score_columns(options[:1], recordings=recordings)
    assert first.name == "scores:mos"


def test_a_file_that_is_in_two_manifests_has_the_score_of_either_uid(rated: Path) -> None:
    first = read_rated_corpora(rated)[0].recordings
    again = [replace(recording, uid=f"two:{recording.uid}") for recording in first[:6]]
    table = rated.parent / "scores.csv"
    table.write_text("uid,mine\n" + "".join(f"{r.uid},{i}\n" for i, r in enumerate(first)))
    for recordings in ([*first, *again], [*again, *first]):
        predictor = read_score_column(table, "mine", recordings=recordings)
        assert predictor.score(first).tolist() == list(range(9))
        assert predictor.score(again).tolist() == list(range(6))
    table.write_text("uid,mine\ns0:r0,1\ntwo:s0:r0,2\n")
    with pytest.raises(ScoreTableError, match=r"'two:s0:r0' again: first 1, then 2, of .*0_0\.wav"):
        read_score_column(table, "mine", recordings=recordings)


def test_a_column_must_be_named() -> None:
    with pytest.raises(ScoreTableError, match=r"expected FILE\.csv:COLUMN, got 'table\.csv'"):
        read_score_columns(["table.csv"], recordings=[])


def test_a_table_from_a_spreadsheet_is_read(rated: Path) -> None:
    recordings = read_rated_corpora(rated)[0].recordings
    table = rated.parent / "scores.csv"
    table.write_bytes(b"\xef\xbb\xbfpath,mine\r\n0_0.wav,1.5\r\n\xff.wav,2\r\n")
    predictor = read_score_column(table, "mine", recordings=recordings)
    assert list(predictor.scores.values()) == [1.5]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("s0:r0,1\ns0:r0,2\n", "one row per recording, got 's0:r0' again: first 1, then 2"),
        ("s0:r0,\ns0:r0,2\n", "got 's0:r0' again: first nan, then 2"),
        ("s0:r0,inf\n", "expected a finite number or nothing, got 'inf'"),
        ("s0:r0,good\n", "expected a number or nothing, got 'good'"),
        (f"s0:r0,{'1' * 140_000}\n", r"scores\.csv: not a table of scores: field larger"),
        ("other,1\n", "no row matches a recording by 'uid'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(rated: Path, rows: str, told: str) -> None:
    table = rated.parent / "scores.csv"
    table.write_text(f"uid,mos\n{rows}")
    recordings = read_rated_corpora(rated)[0].recordings
    with pytest.raises(ScoreTableError, match=told):
        read_score_column(table, "mos", recordings=recordings)


def test_a_recording_may_come_again_without_a_score_as_before(rated: Path) -> None:
    table = rated.parent / "scores.csv"
    table.write_text("uid,mos\ns0:r0,\ns0:r0,nan\ns1:r0,2\ns1:r0,2.0\n")
    recordings = read_rated_corpora(rated)[0].recordings
    scores = read_score_column(table, "mos", recordings=recordings).scores
    np.testing.assert_array_equal(list(scores.values()), [np.nan, 2.0])
