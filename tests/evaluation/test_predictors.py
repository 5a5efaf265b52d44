from pathlib import Path

import numpy as np
import pytest

from urgentmos.data.manifest import Pair, Recording
from urgentmos.evaluation.pair_sets import build_pair_set
from urgentmos.evaluation.predictors import ScorePredictor, by_reference, predictors_of_model
from urgentmos.scoring import Row


def test_delta_follows_the_scale_and_direction_of_a_metric() -> None:
    a, b = Path("a.wav"), Path("b.wav")
    pairs = build_pair_set("p", [Pair(a, b, 1.0, (1.0, 1.0))])
    lsd = ScorePredictor("LSD", {a: 1.0, b: 2.3}, metric="lsd")
    # 0.5 of a five-point scale is an eighth; an eighth of the LSD's 10 is 1.25.
    assert lsd.prefer(pairs, delta=0.5).verdicts.tolist() == [0]
    closer = ScorePredictor("LSD", {a: 1.0, b: 2.2}, metric="lsd")
    assert closer.prefer(pairs, delta=0.5).verdicts.tolist() == [1]
    assert closer.prefer(pairs, delta=0.5).leanings[0] == pytest.approx(1.2)


def _row(path: str, scores: dict[str, float]) -> Row:
    status = "ok" if scores else "failed"
    return Row(path, status, "", None, None, None, (), "model", scores)


def test_a_model_is_one_predictor_per_metric_and_has_no_score_where_it_failed() -> None:
    paths = [Path("a.wav"), Path("b.wav")]
    rows = [_row("a.wav", {"mos": 4.0, "lsd": 1.0}), _row("b.wav", {})]
    mos, lsd = predictors_of_model("m", ["mos", "lsd"], paths, rows)
    assert (mos.name, mos.metric, lsd.metric) == ("m", "mos", "lsd")
    recordings = [Recording(path, path.stem, "s", "r", 1.0) for path in paths]
    np.testing.assert_array_equal(mos.score(recordings), [4.0, np.nan])
    np.testing.assert_array_equal(lsd.quality(recordings), [-1.0, np.nan])


def test_a_score_beside_a_reference_is_none_beside_another() -> None:
    path = Path("a.wav")
    first, second, without = (
        Recording(path, "a", "s", "r", 1.0, meta=meta)
        for meta in ({"reference_path": "1.wav"}, {"reference_path": "2.wav"}, {})
    )
    scores = {(path, "1.wav"): 4.0, (path, "2.wav"): 2.0}
    pesq = ScorePredictor("PESQ", scores, metric="pesq", key=by_reference)
    np.testing.assert_array_equal(pesq.score([second, without, first]), [2.0, np.nan, 4.0])
    of_file = ScorePredictor("m", {path: 3.0})
    np.testing.assert_array_equal(of_file.score([second, without, first]), [3.0, 3.0, 3.0])


def test_rows_of_other_recordings_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        predictors_of_model("m", ["mos"], [Path("a.wav"), Path("b.wav")], [_row("a.wav", {})])
