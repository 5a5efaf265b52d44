import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.data.label_table import read_labels
from urgentmos.data.manifest import Recording, read_manifest, write_manifest
from urgentmos.evaluation.peers import score_with_peers
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.ratings import read_rated_corpora
from urgentmos.labels.part_file import PartFile
from urgentmos.labels.summary import LabelSummary
from urgentmos.labels.worker import Outcome


def test_peers_are_computed_once_and_kept(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = read_rated_corpora(rated)[0].recordings
    asked: list[str] = []

    def label_manifest(manifest: Path, output: Path, **options: object) -> LabelSummary:
        rows = read_manifest(manifest)
        for row in rows:
            if "pesq" not in row.metrics:
                asked.append(row.audio_path.name)
                row.metrics["pesq"] = row.duration
        write_manifest(output, rows)
        return LabelSummary(tools={}, labelled={}, missing={})

    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label_manifest)
    cache = tmp_path / "kept" / "peers.csv"
    (predictor,) = score_with_peers(recordings[:4], ["pesq"], cache=cache, workers=0).predictors
    assert predictor.name == "PESQ"
    assert predictor.score([recordings[0].audio_path])[0] == pytest.approx(recordings[0].duration)
    score_with_peers(recordings[:4], ["pesq"], cache=cache, workers=0)
    assert len(asked) == 4
    # One more recording, and one that changed: two more to compute.
    samples, rate = soundfile.read(recordings[0].audio_path)
    soundfile.write(recordings[0].audio_path, samples[:-100], rate)
    score_with_peers(recordings[:5], ["pesq"], cache=cache, workers=0)
    assert sorted(asked[4:]) == sorted(
        [recordings[0].audio_path.name, recordings[4].audio_path.name]
    )
    assert list(cache.parent.iterdir()) == [cache]


def test_scores_beside_another_reference_are_not_taken_for_those_beside_this_one(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, *others = read_rated_corpora(rated)[0].recordings
    asked: list[int] = []

    def label_manifest(manifest: Path, output: Path, **options: object) -> LabelSummary:
        asked.append(len(read_manifest(manifest)))
        return _give_pesq(manifest, output)

    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label_manifest)
    for reference in (others[0], others[1], others[0], None):
        meta = {} if reference is None else {"reference_path": str(reference.audio_path)}
        beside = replace(recording, meta=meta)
        score_with_peers([beside], ["pesq"], cache=tmp_path / "peers.csv", workers=0)
    # The third was known from the first.
    assert asked == [1, 1, 1]


def test_a_name_that_is_too_long_has_no_score_of_a_peer(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = read_rated_corpora(rated)[0].recordings[0]
    too_long = replace(recording, audio_path=tmp_path / ("x" * 300))
    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", _give_pesq)
    cache = tmp_path / "peers.csv"
    scored = score_with_peers([recording, too_long], ["pesq"], cache=cache, workers=0)
    assert list(scored.predictors[0].scores) == [recording.audio_path]


def test_a_recording_that_is_not_there_has_no_score_of_a_peer(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = read_rated_corpora(rated)[0].recordings[:2]
    recordings[0].audio_path.unlink()

    def label_manifest(manifest: Path, output: Path, **options: object) -> LabelSummary:
        (row,) = read_manifest(manifest)
        row.metrics["pesq"] = 2.0
        write_manifest(output, [row])
        return LabelSummary(tools={}, labelled={}, missing={"pesq": {"too short": 3, "silent": 1}})

    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label_manifest)
    cache = tmp_path / "peers.csv"
    scored = score_with_peers(recordings, ["pesq"], cache=cache, workers=0)
    (predictor,) = scored.predictors
    scores = predictor.score(recording.audio_path for recording in recordings)
    np.testing.assert_array_equal(scores, [np.nan, 2.0])
    assert scored.missing == {"pesq": {"too short": 3, "silent": 1}}
    assert scored.failures == []


def _give_pesq(manifest: Path, output: Path, **options: object) -> LabelSummary:
    rows = read_manifest(manifest)
    for row in rows:
        row.metrics["pesq"] = row.duration
    write_manifest(output, rows)
    return LabelSummary(tools={}, labelled={}, missing={})


def test_runs_at_the_same_time_score_their_own_recordings_and_keep_both(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = read_rated_corpora(rated)[0].recordings
    cache = tmp_path / "peers.csv"
    both_asked = threading.Barrier(2, timeout=30)

    def label_manifest(manifest: Path, output: Path, **options: object) -> LabelSummary:
        both_asked.wait()
        summary = _give_pesq(manifest, output)
        both_asked.wait()
        return summary

    def run(chosen: Sequence[Recording]) -> ScorePredictor:
        (predictor,) = score_with_peers(chosen, ["pesq"], cache=cache, workers=0).predictors
        return predictor

    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label_manifest)
    parts = recordings[:4], recordings[4:]
    with ThreadPoolExecutor(2) as pool:
        predictors = list(pool.map(run, parts))
    for predictor, part in zip(predictors, parts, strict=True):
        assert list(predictor.scores) == [recording.audio_path for recording in part]
    assert len(read_labels(cache)) == 9
    assert list(tmp_path.glob("*peers*")) == [cache]


def test_what_a_peer_gave_before_it_was_interrupted_is_kept(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = read_rated_corpora(rated)[0].recordings

    def label_manifest(manifest: Path, output: Path, **options: object) -> LabelSummary:
        first = read_manifest(manifest)[0]
        with PartFile(output.with_name(output.name + ".part.jsonl"), tools={"pesq": "1"}) as part:
            part.append(Outcome(first.uid, metrics={"pesq": 2.0}))
        raise KeyboardInterrupt

    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label_manifest)
    cache = tmp_path / "peers.csv"
    with pytest.raises(KeyboardInterrupt):
        score_with_peers(recordings, ["pesq"], cache=cache, workers=0)
    assert list(read_labels(cache).values()) == [{"pesq": 2.0}]


def test_a_peer_scores_recordings_of_relative_paths(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rated.parent)
    recordings = read_rated_corpora(rated.name)[0].recordings
    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", _give_pesq)
    (predictor,) = score_with_peers(
        recordings, ["pesq"], cache=tmp_path / "peers.csv", workers=0
    ).predictors
    assert not np.isnan(predictor.score(recording.audio_path for recording in recordings)).any()
