import functools
import itertools
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
from urgentmos.evaluation.peer_cache import PeerCache
from urgentmos.evaluation.peers import score_with_peers
from urgentmos.evaluation.predictors import ScorePredictor
from urgentmos.evaluation.ratings import read_rated_corpora
from urgentmos.labels.catalogue import LABELLERS
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
    assert predictor.score(recordings[:1])[0] == pytest.approx(recordings[0].duration)
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


def _compare(asked: list[str], manifest: Path, output: Path, **options: object) -> LabelSummary:
    """Give a PESQ that says which reference it is beside, and DNSMOS, that needs none."""
    rows = read_manifest(manifest)
    asked += [row.uid for row in rows]
    for row in rows:
        reference = row.meta.get("reference_path")
        row.metrics["dnsmos_p808"] = row.duration
        if reference is None:
            row.meta["label_errors"] = {"pesq": "no reference"}
        elif not Path(reference).exists():
            row.meta["label_errors"] = {"pesq": "not there"}
        else:
            row.metrics["pesq"] = 1.0 + int(Path(reference).stem[-1])
    write_manifest(output, rows)
    return LabelSummary(tools={}, labelled={}, missing={})


def _beside(recordings: Sequence[Recording], reference: Path | None) -> list[Recording]:
    meta = {} if reference is None else {"reference_path": str(reference)}
    return [replace(recording, meta=meta) for recording in recordings]


def test_a_file_of_two_corpora_is_scored_beside_the_reference_of_each(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_rated_corpora(rated)[0].recordings
    corpora = {
        1.0: _beside(first, tmp_path / "0_0.wav"),
        3.0: _beside(first[:6], tmp_path / "0_2.wav"),
        np.nan: _beside(first[3:], None),
    }
    asked: list[str] = []
    label = functools.partial(_compare, asked)
    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label)
    for number, order in enumerate(itertools.permutations(corpora.values())):
        recordings = list(itertools.chain(*order))
        cache = tmp_path / f"peers{number}.csv"
        for _ in range(2):
            scored = score_with_peers(recordings, ["pesq", "dnsmos_p808"], cache=cache, workers=0)
            pesq, dnsmos = scored.predictors
            for expected, members in corpora.items():
                np.testing.assert_array_equal(pesq.score(members), [expected] * len(members))
                durations = [recording.duration for recording in members]
                np.testing.assert_allclose(dnsmos.score(members), durations)
            assert scored.failures == []
        assert len(set(asked)) == 9 + 6 + 6
        assert len(read_labels(cache)) == len(set(asked)) + 9 + 6


def test_scores_by_another_version_of_a_tool_are_made_again(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    label = functools.partial(_compare, asked)
    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label)
    recordings = _beside(read_rated_corpora(rated)[0].recordings[:2], tmp_path / "0_2.wav")
    cache, peers = tmp_path / "peers.csv", ["pesq", "dnsmos_p808"]
    score_with_peers(recordings, peers, cache=cache, workers=0)
    assert len(asked) == 2
    # As in another tool's row, of a table from before rows named versions, or of another version.
    rows = {uid: dict.fromkeys(metrics, 1.0) for uid, metrics in read_labels(cache).items()}
    version = LABELLERS["pesq"].build("float32").version
    other = {uid.replace(version, f"{version}, but another"): m for uid, m in rows.items()}
    unnamed = {uid.removesuffix(f" {version}"): m for uid, m in rows.items()}
    for kept in (other, unnamed):
        cache.write_text("uid,pesq,dnsmos_p808\n")
        PeerCache(cache).add(kept)
        pesq, _ = score_with_peers(recordings, peers, cache=cache, workers=0).predictors
        assert pesq.score(recordings).tolist() == [3.0, 3.0]
    assert len(asked) == 6
    score_with_peers(recordings, peers, cache=cache, workers=0)
    assert len(asked) == 6


def test_a_file_fails_once_whatever_manifest_states_a_reference_that_is_not_there(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_rated_corpora(rated)[0].recordings[:3]
    stated = [_beside(first, tmp_path / f"{name}.wav") for name in ("0_0", "gone", "astray")]
    label = functools.partial(_compare, [])
    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label)
    for number, order in enumerate(itertools.permutations([*stated, _beside(first, None)])):
        cache = tmp_path / f"peers{number}.csv"
        scored = score_with_peers(list(itertools.chain(*order)), ["pesq"], cache=cache, workers=0)
        paths = [recording.audio_path for recording in first]
        assert scored.failures == [(path, "pesq: not there") for path in paths]


def test_a_name_that_is_too_long_has_no_score_of_a_peer(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = read_rated_corpora(rated)[0].recordings[0]
    too_long = replace(recording, audio_path=tmp_path / ("x" * 300))
    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", _give_pesq)
    cache = tmp_path / "peers.csv"
    scored = score_with_peers([recording, too_long], ["pesq"], cache=cache, workers=0)
    assert list(scored.predictors[0].scores) == [(recording.audio_path, None)]


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
    scores = predictor.score(recordings)
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
        assert list(predictor.scores) == [(recording.audio_path, None) for recording in part]
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
    assert not np.isnan(predictor.score(recordings)).any()
