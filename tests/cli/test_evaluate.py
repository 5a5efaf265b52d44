import csv
import functools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from urgentmos.cli import build_app
from urgentmos.correlation import srcc
from urgentmos.data.manifest import Pair, read_manifest, write_manifest, write_pairs
from urgentmos.data.pairs import make_pairs
from urgentmos.evaluation.ratings import read_rated_corpora
from urgentmos.evaluation.tables import Table, write_tables
from urgentmos.labels.summary import LabelSummary, summarise
from urgentmos.model.assessor import Assessor
from urgentmos.model.checkpoint import load_model
from urgentmos.scoring import score_files
from urgentmos.user_cache import UserCacheError


def _evaluate(*arguments: object):
    app = build_app(["evaluate", "metrics"])
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_command_prints_and_writes_what_the_parts_compute(
    rated: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    table = tmp_path / "other.csv"
    recordings = read_rated_corpora(rated)[0].recordings
    table.write_text(
        "uid,good\n" + "".join(f"{r.uid},{r.metrics['mos'] / 20}\n" for r in recordings)
    )
    out = tmp_path / "out"
    write_tables([Table("Of an earlier run", rows=[{"a": 1}])], out)
    (out / "scatter.png").write_bytes(b"urgentmos evaluate: scatter.png")
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
    assert {path.name for path in out.iterdir()} == {
        "results.md", "results.json", *(f"{Table(title).file_name}.csv" for title in as_json)
    }  # fmt: skip


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
        ["--pin", "0" * 16],
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


def test_pairs_made_of_ratings_are_judged_as_the_ratings_are(
    rated: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """With the same δ on both sides, whoever made the pairs."""
    (corpus,) = read_rated_corpora(rated)
    pairs = rated.parent / "pairs.jsonl"
    five_point = [replace(r, metrics={"mos": r.metrics["mos"] / 25}) for r in corpus.recordings]
    write_pairs(pairs, make_pairs(five_point, matching="ref"))
    options = ["--model", tiny_model_dir, "--bootstrap", 0, "--delta", 1.3]
    for path in (rated, pairs):
        result = _evaluate(path, *options, "-o", tmp_path / path.stem)
        assert result.exit_code == 0, result.output
    of_ratings, of_pairs = (
        [
            {name: row[name] for name in ("predictor", "pairs", "acc_δ", "acc_0")}
            for row in _csv(tmp_path / path.stem / "preferences.csv")
        ]
        for path in (rated, pairs)
    )
    assert of_pairs == of_ratings


def _fail(reason_by_place: dict[int, str], manifest: Path, output: Path, **options: object):
    rows = read_manifest(manifest)
    for place, row in enumerate(rows):
        if place in reason_by_place:
            row.meta["label_errors"] = {"pesq": reason_by_place[place]}
        else:
            row.metrics["pesq"] = 1.0 + place / 10
    write_manifest(output, rows)
    return summarise(rows, metrics=["pesq"], tools={})


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
    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", fail)
    result = _evaluate(
        rated, "--model", tiny_model_dir, "--peer", "pesq", "--peer-cache", tmp_path / "peers.csv",
        "-o", tmp_path / "out", "--bootstrap", 10, "--figures",
    )  # fmt: skip
    assert result.exit_code == status, result.output
    assert told in result.stderr
    assert ("failed" in result.stderr) == bool(told)
    for reason in reason_by_place.values():
        count = len(reason_by_place)
        assert f"PESQ: no score of {count} recordings, most often: {reason}" in result.stderr
    preferences = {row["predictor"]: row for row in _csv(tmp_path / "out" / "preferences.csv")}
    assert (preferences["PESQ"]["acc_0"] == "") == (len(reason_by_place) == 9)


def test_corpora_that_share_files_keep_their_own_references_and_uids_in_either_order(
    rated: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [json.loads(line) for line in rated.read_text().splitlines()]
    one = [{**r, "corpus": "one", "reference_path": f"0_{i // 3}.wav"} for i, r in enumerate(rows)]
    two = [{**row, "corpus": "two", "uid": f"two:{row['uid']}"} for row in rows[:6]]
    manifests = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path, members in zip(manifests, (one, two), strict=True):
        path.write_text("".join(json.dumps(row) + "\n" for row in members))
    table = tmp_path / "other.csv"
    table.write_text("uid,good\n" + "".join(f"{row['uid']},{row['rating']}\n" for row in one))

    def label_manifest(manifest: Path, output: Path, **options: object) -> LabelSummary:
        given = read_manifest(manifest)
        for place, row in enumerate(given):
            if row.meta.get("reference_path") is not None:
                row.metrics["pesq"] = 1.0 + place / 10
        write_manifest(output, given)
        return summarise(given, metrics=[], tools={})

    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label_manifest)
    for order in (manifests, manifests[::-1]):
        out = tmp_path / order[0].stem
        result = _evaluate(
            *order, "--model", tiny_model_dir, "--peer", "pesq", "--scores", f"{table}:good",
            "--peer-cache", out / "peers.csv", "-o", out, "--bootstrap", 0,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        files = {(r["corpus"], r["predictor"]): r["files"] for r in _csv(out / "summary.csv")}
        assert files == {
            ("one", "tiny_model"): "9", ("one", "PESQ"): "9", ("one", "other:good"): "9",
            ("two", "tiny_model"): "6", ("two", "PESQ"): "0", ("two", "other:good"): "6",
        }  # fmt: skip
        unanswered = {
            (r["corpus"], r["predictor"]): (r["pairs"], r["unanswered"])
            for r in _csv(out / "preferences.csv")
        }
        assert unanswered["one", "PESQ"] == ("9", "0")
        assert unanswered["two", "PESQ"] == ("6", "6")


@pytest.mark.parametrize("key", ["path", "uid"])
def test_corpora_of_several_folders_that_share_files_have_the_scores_of_a_table(
    rated: Path, tiny_model_dir: Path, tmp_path: Path, key: str
) -> None:
    rows = [json.loads(line) for line in rated.read_text().splitlines()]
    manifests = [tmp_path / name / "rated.jsonl" for name in ("one", "two")]
    for manifest in manifests:
        manifest.parent.mkdir()
        moved = [{**r, "audio_path": f"../{r['audio_path']}"} for r in rows]
        named = [{**row, "corpus": manifest.parent.name} for row in moved]
        manifest.write_text("".join(json.dumps(row) + "\n" for row in named))
    names = [row["audio_path" if key == "path" else "uid"] for row in rows]
    table = tmp_path / "other.csv"
    table.write_text(f"{key},good\n" + "".join(f"{each},{i}\n" for i, each in enumerate(names)))
    out = tmp_path / "out"
    result = _evaluate(
        *manifests, "--model", tiny_model_dir, "--scores", f"{table}:good", "-o", out,
        "--bootstrap", 0,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    files = {(r["corpus"], r["predictor"]): r["files"] for r in _csv(out / "summary.csv")}
    assert files["one", "other:good"] == files["two", "other:good"] == "9"


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


def test_peers_without_a_home_ask_for_a_table(
    rated: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> Path:
        raise UserCacheError("no home")

    monkeypatch.setattr("urgentmos.cli.evaluate.user_cache", unknown)
    result = _evaluate(rated, "--model", tiny_model_dir, "--peer", "pesq")
    assert result.exit_code == 2
    told = " ".join(result.stderr.replace("│", " ").split())
    assert "no home, or name a table: --peer-cache" in told


def test_a_corpus_without_pairs_is_named(rated: Path, tiny_model_dir: Path) -> None:
    lines = [json.loads(line) for line in rated.read_text().splitlines()]
    for number, line in enumerate(lines):
        line["reference_id"] = str(number)
    rated.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = _evaluate(rated, "--model", tiny_model_dir, "--bootstrap", 0)
    assert result.exit_code == 0, result.output
    assert result.stderr == "noisy: no rated pairs by 'ref'\n"
    assert "### Preferences" not in result.stdout


def test_figures_without_matplotlib_are_refused_before_anything_is_scored(
    rated: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    result = _evaluate(rated, "--model", tiny_model_dir, "-o", out, "--figures")
    assert result.exit_code == 2
    assert "urgentmos[evaluate]" in result.stderr
    assert result.stdout == ""


def test_a_table_that_cannot_be_read_is_told_before_peers_are_asked(
    rated: Path, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def label_manifest(*arguments: object, **options: object) -> LabelSummary:
        raise AssertionError("asked")

    monkeypatch.setattr("urgentmos.evaluation.peers.label_manifest", label_manifest)
    result = _evaluate(
        rated, "--model", tiny_model_dir, "--peer", "pesq", "--peer-cache", tmp_path / "peers.csv",
        "--scores", "table.csv",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "expected FILE.csv:COLUMN, got 'table.csv'" in result.stderr
