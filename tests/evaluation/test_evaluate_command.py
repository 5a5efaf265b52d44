import csv
import functools
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from urgentmos.cli import build_app
from urgentmos.cli.evaluate_judges import gather_others
from urgentmos.cli.evaluate_peers import score_with_peers
from urgentmos.cli.progress import Failures
from urgentmos.correlation import srcc
from urgentmos.data.label_table import read_labels
from urgentmos.data.manifest import Pair, Recording, read_manifest, write_manifest, write_pairs
from urgentmos.evaluation.pair_sets import build_pair_set, pair_rated_corpus
from urgentmos.evaluation.predictors import PreferenceComparer, ScorePredictor
from urgentmos.evaluation.ratings import read_rated_corpora
from urgentmos.evaluation.score_tables import ScoreTableError, read_score_column
from urgentmos.labels.part_file import PartFile
from urgentmos.labels.summary import LabelSummary
from urgentmos.labels.worker import Outcome
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model
from urgentmos.scoring import score_files


@pytest.fixture
def rated(tmp_path: Path, speech) -> Path:
    """Three systems of growing noise on three references, in one corpus."""
    generator = np.random.default_rng(0)
    rows = []
    for reference in range(3):
        clean = speech(seconds=0.6 + 0.2 * reference, seed=reference)
        for system, noise in enumerate((0.0, 0.05, 0.3)):
            path = tmp_path / f"{system}_{reference}.wav"
            degraded = clean + noise * generator.normal(size=len(clean))
            soundfile.write(path, degraded.clip(-1, 1), 16000)
            rows.append(
                {
                    "audio_path": path.name,
                    "uid": f"s{system}:r{reference}",
                    "system_id": f"s{system}",
                    "reference_id": f"r{reference}",
                    "duration": len(clean) / 16000,
                    "rating": 80.0 - 30 * system + reference,
                    "scale": "MUSHRA 0-100",
                    "corpus": "noisy",
                }
            )
    manifest = tmp_path / "rated.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def _evaluate(*arguments: object):
    app = build_app(["evaluate", "metrics"])
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_comparing_many_pairs_equals_comparing_each(rated: Path, tiny_assessor: Assessor) -> None:
    (corpus,) = read_rated_corpora(rated)
    pairs = pair_rated_corpus(corpus, ordered=True)
    preferences, _, consistency = PreferenceComparer(tiny_assessor).prefer(pairs)
    assert len(pairs.pairs) == 18
    assert 0.0 <= consistency <= 1.0
    for row in (0, 7, 17):
        a, b = (soundfile.read(pairs.paths[i], dtype="float32")[0] for i in pairs.pairs[row])
        expected = tiny_assessor.compare(a, b, 16000)
        assert preferences.leanings[row] == pytest.approx(expected.p_a - expected.p_b, abs=1e-5)


def test_unreadable_recording_gives_no_answer_for_its_pairs_only(
    rated: Path, tiny_assessor: Assessor
) -> None:
    broken = rated.parent / "broken.wav"
    broken.write_bytes(b"not audio")
    good = [rated.parent / "0_0.wav", rated.parent / "1_0.wav"]
    pairs = build_pair_set(
        "p", [Pair(good[0], broken, 1.0, (1.0, 1.0)), Pair(good[0], good[1], 1.0, (1.0, 1.0))]
    )
    preferences = PreferenceComparer(tiny_assessor).prefer(pairs).preferences
    assert np.isnan(preferences.leanings).tolist() == [True, False]


def test_long_recordings_and_silent_edges_are_compared_as_the_assessor_does(
    tmp_path: Path, speech, tiny_assessor: Assessor
) -> None:
    # Of 1, 2 and 3 windows, the second within digital silence.
    short, longer, longest = (speech(seconds=s, seed=int(s)) for s in (1.0, 20.0, 40.0))
    silence = np.zeros(8000, dtype=np.float32)
    waveforms = [short, np.concatenate([silence, longer, silence]), longest]
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, waveform in zip(paths, waveforms, strict=True):
        soundfile.write(path, waveform, 16000, subtype="FLOAT")
    members = [(0, 1), (1, 2), (2, 0)]
    pairs = build_pair_set("p", [Pair(paths[a], paths[b], 1.0, (1.0, 1.0)) for a, b in members])
    found = PreferenceComparer(tiny_assessor).prefer(pairs).preferences
    for leaning, (a, b) in zip(found.leanings, members, strict=True):
        expected = tiny_assessor.compare(
            waveforms[a].astype(np.float32), waveforms[b].astype(np.float32), 16000
        )
        assert leaning == pytest.approx(expected.p_a - expected.p_b, abs=1e-5)


def test_one_order_is_the_head_alone_and_both_orders_are_their_mean(
    rated: Path, tiny_assessor: Assessor
) -> None:
    (corpus,) = read_rated_corpora(rated)
    comparer = PreferenceComparer(tiny_assessor)
    pairs = pair_rated_corpus(corpus, ordered=True)
    both, one_order, _ = comparer.prefer(pairs)
    place = {tuple(pair): row for row, pair in enumerate(pairs.pairs.tolist())}
    swapped = [place[b, a] for a, b in pairs.pairs.tolist()]
    np.testing.assert_allclose(
        both.leanings, (one_order.leanings - one_order.leanings[swapped]) / 2, atol=1e-5
    )
    # The head of a random model does not mirror by itself, or this would test nothing.
    assert np.abs(one_order.leanings + one_order.leanings[swapped]).max() > 1e-4


def test_delta_follows_the_scale_and_direction_of_a_metric(rated: Path) -> None:
    a, b = rated.parent / "0_0.wav", rated.parent / "1_0.wav"
    pairs = build_pair_set("p", [Pair(a, b, 1.0, (1.0, 1.0))])
    lsd = ScorePredictor("LSD", {a: 1.0, b: 2.3}, metric="lsd")
    # 0.5 of a five-point scale is an eighth; an eighth of the LSD's 10 is 1.25.
    assert lsd.prefer(pairs, delta=0.5).verdicts.tolist() == [0]
    closer = ScorePredictor("LSD", {a: 1.0, b: 2.2}, metric="lsd")
    assert closer.prefer(pairs, delta=0.5).verdicts.tolist() == [1]
    assert closer.prefer(pairs, delta=0.5).leanings[0] == pytest.approx(1.2)


def test_command_prints_and_writes_what_the_parts_compute(
    rated: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    table = tmp_path / "other.csv"
    recordings = read_rated_corpora(rated)[0].recordings
    table.write_text(
        "uid,good\n" + "".join(f"{r.uid},{r.metrics['mos'] / 20}\n" for r in recordings)
    )
    out = tmp_path / "out"
    result = _evaluate(
        rated, "--model", tiny_model_dir, "--scores", f"{table}:good", "-o", out,
        "--metric", "mos_overall", "--bootstrap", 20,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "### Summary" in result.stdout
    summary = {row["predictor"]: row for row in _csv(out / "summary.csv")}
    assert float(summary["other:good"]["SRCC"]) == pytest.approx(1.0)
    assert float(summary["other:good"]["acc_0 score"]) == 1.0
    assert summary["other:good"]["acc_0 compare"] == ""
    assert summary["tiny_model"]["strict pairs"] == "9"
    preferences = {row["predictor"]: row for row in _csv(out / "preferences.csv")}
    assert set(preferences) == {"tiny_model, compare", "tiny_model", "other:good"}
    assert float(preferences["tiny_model, compare"]["acc_0"]) == pytest.approx(
        float(summary["tiny_model"]["acc_0 compare"])
    )
    assert float(preferences["other:good"]["acc_δ"]) == 1.0
    assert preferences["other:good"]["acc_0, one order"] == ""
    assert 0.0 <= float(preferences["tiny_model, compare"]["acc_0, one order"]) <= 1.0
    as_json = json.loads((out / "results.json").read_text())
    assert as_json["Models"][0]["model"].startswith(load_model(tiny_model_dir).model_hash)
    assert len(as_json["Confusion"]) == 9
    assert (out / "results.md").read_text().count("###") == len(as_json)


def test_labelled_manifest_gives_one_row_per_metric(
    rated: Path, tiny_model_dir: Path, tiny_assessor: Assessor, tmp_path: Path
) -> None:
    recordings = read_rated_corpora(rated)[0].recordings
    paths = [recording.audio_path for recording in recordings]
    scores = [row.scores["estoi"] for row in score_files(tiny_assessor, paths)]
    labelled = tmp_path / "labelled.jsonl"
    generator = np.random.default_rng(1)
    labels = np.array(scores) + 0.01 * generator.normal(size=len(scores))
    with labelled.open("w") as file:
        for recording, label in zip(recordings, labels, strict=True):
            record = {
                "audio_path": recording.audio_path.name,
                "uid": recording.uid,
                "system_id": recording.system_id,
                "reference_id": recording.reference_id,
                "duration": recording.duration,
                "metrics": {"estoi": label, "mcd": 1.0},
                "meta": {"split": "validation"},
            }
            file.write(json.dumps(record) + "\n")
    out = tmp_path / "out"
    result = _evaluate(
        labelled, "--model", tiny_model_dir, "--split", "validation", "-o", out, "--bootstrap", 0
    )
    assert result.exit_code == 0, result.output
    (row,) = _csv(out / "metrics.csv")
    assert row["metric"] == "estoi"
    assert float(row["SRCC"]) == pytest.approx(srcc(labels, np.array(scores)))


def test_failed_recording_is_named_and_ends_in_exit_status_1(
    rated: Path, tiny_model_dir: Path
) -> None:
    (rated.parent / "0_0.wav").write_bytes(b"not audio")
    result = _evaluate(rated, "--model", tiny_model_dir, "--bootstrap", 0)
    assert result.exit_code == 1
    assert "0_0.wav" in result.stderr
    assert "1 of 9 failed" in result.stderr


def test_wrong_usage_is_exit_status_2(rated: Path, tiny_model_dir: Path) -> None:
    table = rated.parent / "other.csv"
    table.write_text("uid,good\ns0:r0,1\n")
    for options in (
        ["--matching", "system"],
        ["--scores", "table.csv"],
        ["--scores", f"{table}:bad"],
        ["--split", "test"],
        ["--metric", "pesqq"],
    ):
        result = _evaluate(rated, "--model", tiny_model_dir, *options)
        assert result.exit_code == 2, (options, result.output)


def test_urgentmos_benchmark_counts_ordered_pairs(
    rated: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = _evaluate(
        rated, "--model", tiny_model_dir, "--benchmark", "urgentmos", "-o", out, "--bootstrap", 0
    )
    assert result.exit_code == 0, result.output
    (row,) = _csv(out / "pairs.csv")
    assert (row["corpus"], row["pairs"]) == ("noisy", "18")


def test_mos_rmbench_runs_from_the_command_and_can_be_pinned(
    rated: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in rated.read_text().splitlines()]
    for line in lines:
        line |= {"corpus": "bvcc", "split": "test", "rating": line["rating"] / 20, "scale": "1-5"}
    rated.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ["--model", tiny_model_dir, "--benchmark", "mos-rmbench", "--bootstrap", 0]
    out = tmp_path / "out"
    result = _evaluate(rated, *options, "-o", out, "--figures")
    assert result.exit_code == 0, result.output
    digest = result.stdout.split("Digest of the pair list: ")[1].split()[0]
    accuracy = {row["predictor"]: row for row in _csv(out / "mos_rmbench_accuracy.csv")}
    # Nine recordings have 36 pairs, all eligible: every rating is another.
    assert accuracy["(pairs)"]["bvcc"] == "36"
    assert 0.0 <= float(accuracy["tiny_model, compare"]["Overall"]) <= 1.0
    assert (out / "bins.png").stat().st_size > 1000
    assert _evaluate(rated, *options, "--pin", digest).exit_code == 0
    refused = _evaluate(rated, *options, "--pin", "0" * 16)
    assert refused.exit_code == 2
    assert digest in refused.output


def test_mos_rmbench_refuses_native_pairs(rated: Path, tiny_model_dir: Path) -> None:
    pairs = rated.parent / "judged.jsonl"
    write_pairs(pairs, [Pair(rated.parent / "0_0.wav", rated.parent / "1_0.wav", 1.0, (1.0, 1.0))])
    result = _evaluate(pairs, "--model", tiny_model_dir, "--benchmark", "mos-rmbench")
    assert result.exit_code == 2
    assert "judged" in result.output


def test_tables_of_one_name_are_told_apart_by_their_paths(rated: Path) -> None:
    recordings = read_rated_corpora(rated)[0].recordings
    options = []
    for number in (1, 2):
        table = rated.parent / str(number) / "scores.csv"
        table.parent.mkdir()
        table.write_text(f"uid,mos\ns0:r0,{number}\n")
        options.append(f"{table}:mos")
    gather = functools.partial(
        gather_others, recordings, peers=[], cache=None, workers=0, failures=Failures()
    )
    assert [predictor.name for predictor in gather(columns=options)] == options
    assert [predictor.name for predictor in gather(columns=options[:1])] == ["scores:mos"]


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


def test_native_pairs_pass_through(rated: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    pairs = rated.parent / "judged.jsonl"
    members = [rated.parent / f"{system}_0.wav" for system in range(3)]
    write_pairs(
        pairs,
        [
            Pair(members[0], members[1], 1.0, (1.0, 1.0)),
            Pair(members[1], members[2], 0.0, (1.0, 1.0)),
        ],
    )
    out = tmp_path / "out"
    result = _evaluate(pairs, "--model", tiny_model_dir, "-o", out, "--bootstrap", 0)
    assert result.exit_code == 0, result.output
    rows = _csv(out / "preferences.csv")
    assert {(row["corpus"], row["pairs"], row["strict pairs"]) for row in rows} == {
        ("judged", "2", "1")
    }


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

    monkeypatch.setattr("urgentmos.cli.evaluate_peers.label_manifest", label_manifest)
    cache = tmp_path / "kept" / "peers.csv"
    (predictor,) = score_with_peers(
        recordings[:4], ["pesq"], cache=cache, workers=0, failures=Failures()
    )
    assert predictor.name == "PESQ"
    assert predictor.score([recordings[0].audio_path])[0] == pytest.approx(recordings[0].duration)
    score_with_peers(recordings[:4], ["pesq"], cache=cache, workers=0, failures=Failures())
    assert len(asked) == 4
    # One more recording, and one that changed: two more to compute.
    samples, rate = soundfile.read(recordings[0].audio_path)
    soundfile.write(recordings[0].audio_path, samples[:-100], rate)
    score_with_peers(recordings[:5], ["pesq"], cache=cache, workers=0, failures=Failures())
    assert sorted(asked[4:]) == sorted(
        [recordings[0].audio_path.name, recordings[4].audio_path.name]
    )
    assert list(cache.parent.iterdir()) == [cache]


def test_a_recording_that_is_not_there_has_no_score_of_a_peer(
    rated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recordings = read_rated_corpora(rated)[0].recordings[:2]
    recordings[0].audio_path.unlink()

    def label_manifest(manifest: Path, output: Path, **options: object) -> LabelSummary:
        (row,) = read_manifest(manifest)
        row.metrics["pesq"] = 2.0
        write_manifest(output, [row])
        return LabelSummary(tools={}, labelled={}, missing={"pesq": {"too short": 3, "silent": 1}})

    monkeypatch.setattr("urgentmos.cli.evaluate_peers.label_manifest", label_manifest)
    cache = tmp_path / "peers.csv"
    (predictor,) = score_with_peers(
        recordings, ["pesq"], cache=cache, workers=0, failures=Failures()
    )
    scores = predictor.score(recording.audio_path for recording in recordings)
    np.testing.assert_array_equal(scores, [np.nan, 2.0])
    told = capsys.readouterr().err
    assert told == "PESQ: no score of 4 recordings, most often: too short\n"


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
        (predictor,) = score_with_peers(
            chosen, ["pesq"], cache=cache, workers=0, failures=Failures()
        )
        return predictor

    monkeypatch.setattr("urgentmos.cli.evaluate_peers.label_manifest", label_manifest)
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

    monkeypatch.setattr("urgentmos.cli.evaluate_peers.label_manifest", label_manifest)
    cache = tmp_path / "peers.csv"
    with pytest.raises(KeyboardInterrupt):
        score_with_peers(recordings, ["pesq"], cache=cache, workers=0, failures=Failures())
    assert list(read_labels(cache).values()) == [{"pesq": 2.0}]


def test_a_peer_scores_recordings_of_relative_paths(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rated.parent)
    recordings = read_rated_corpora(rated.name)[0].recordings
    monkeypatch.setattr("urgentmos.cli.evaluate_peers.label_manifest", _give_pesq)
    (predictor,) = score_with_peers(
        recordings, ["pesq"], cache=tmp_path / "peers.csv", workers=0, failures=Failures()
    )
    assert not np.isnan(predictor.score(recording.audio_path for recording in recordings)).any()


def _fail(reason_by_place: dict[int, str], manifest: Path, output: Path, **options: object):
    rows = read_manifest(manifest)
    for place, row in enumerate(rows):
        if place in reason_by_place:
            row.meta["label_errors"] = {"pesq": reason_by_place[place]}
        else:
            row.metrics["pesq"] = 1.0 + place / 10
    write_manifest(output, rows)
    return LabelSummary(tools={}, labelled={}, missing={})


@pytest.mark.parametrize(
    ("reason_by_place", "status", "told"),
    [
        ({}, 0, ""),
        ({2: "no reference"}, 0, ""),
        ({2: "too short"}, 1, "1 of 18 failed:"),
        (dict.fromkeys(range(9), "no reference"), 1, "9 of 18 failed:"),
    ],
    ids=["all scored", "one has no reference", "one failed", "none scored"],
)
def test_what_a_peer_could_not_score_is_in_the_exit_status(
    rated: Path,
    tiny_model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reason_by_place: dict[int, str],
    status: int,
    told: str,
) -> None:
    fail = functools.partial(_fail, reason_by_place)
    monkeypatch.setattr("urgentmos.cli.evaluate_peers.label_manifest", fail)
    result = _evaluate(
        rated, "--model", tiny_model_dir, "--peer", "pesq", "--peer-cache", tmp_path / "peers.csv",
        "-o", tmp_path / "out", "--bootstrap", 10, "--figures",
    )  # fmt: skip
    assert result.exit_code == status, result.output
    assert told in result.stderr
    assert ("failed" in result.stderr) == bool(told)
    preferences = {row["predictor"]: row for row in _csv(tmp_path / "out" / "preferences.csv")}
    assert (preferences["PESQ"]["acc_0"] == "") == (len(reason_by_place) == 9)


def test_manifest_without_ratings_and_labels_is_refused(rated: Path, tiny_model_dir: Path) -> None:
    rows = [{**json.loads(line), "rating": None} for line in rated.read_text().splitlines()]
    rated.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = _evaluate(rated, "--model", tiny_model_dir)
    assert result.exit_code == 2
    told = " ".join(result.stderr.replace("│", " ").split())
    assert (
        "nothing to agree with in noisy: expected a 'rating', or 'metrics' with one of mos" in told
    )
    assert result.stdout == ""


def test_labels_of_one_metric_are_enough(rated: Path, tiny_model_dir: Path) -> None:
    recordings = read_rated_corpora(rated)[0].recordings
    labelled = [replace(each, metrics={"estoi": 0.1 * i}) for i, each in enumerate(recordings)]
    write_manifest(rated, labelled)
    result = _evaluate(rated, "--model", tiny_model_dir, "--bootstrap", 0)
    assert result.exit_code == 0, result.output
    assert "estoi" in result.stdout
