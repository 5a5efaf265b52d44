import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.data.manifest import ManifestError
from urgentmos.training.config import DataConfig
from urgentmos.training.corpus import load_corpus

METRICS = ["mos", "pesq"]


def config(*manifests: Path, **options: object) -> DataConfig:
    return DataConfig(manifests=[str(path) for path in manifests], **options)  # type: ignore[arg-type]


def rewritten(manifest: Path, name: str, **changes: object) -> Path:
    """Write the manifest again beside its audio, without splits, with other values."""
    path = manifest.with_name(name)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "meta": {}, **changes}) + "\n" for line in lines))
    return path


def test_the_split_is_the_manifests(manifest: Path) -> None:
    corpus = load_corpus(config(manifest), metrics=METRICS)
    assert {r.reference_id for r in corpus.train.recordings} == {"0", "1", "2"}
    assert {r.reference_id for r in corpus.validation.recordings} == {"3"}


def test_a_corpus_without_labels_is_told(manifest: Path) -> None:
    path = rewritten(manifest, "unlabelled.jsonl", metrics={})
    with pytest.raises(ManifestError, match=r"no training recording has .*\(labelled: nothing\)"):
        load_corpus(config(path, validation_share=0.4), metrics=METRICS)


def test_without_a_split_whole_contents_are_held_out(manifest: Path) -> None:
    path = rewritten(manifest, "unsplit.jsonl")
    corpus = load_corpus(config(path, validation_share=0.4), metrics=METRICS)
    train, held = (
        {r.reference_id for r in side.recordings} for side in (corpus.train, corpus.validation)
    )
    assert train | held == {"0", "1", "2", "3"}
    assert not train & held
    assert train
    assert held


def test_another_split_is_not_used(manifest: Path) -> None:
    path = rewritten(manifest, "test.jsonl", meta={"split": "test"})
    told = r"no recording is in the train split: there are \d+ in 'test'"
    with pytest.raises(ManifestError, match=told):
        load_corpus(config(path), metrics=METRICS)


def test_what_cannot_be_trained_on_is_told_before_the_audio_is_read(manifest: Path) -> None:
    def missing(**changes: object) -> DataConfig:
        path = rewritten(manifest, "missing.jsonl", audio_path="missing.wav", **changes)
        return config(path, validation_share=0.4)

    with pytest.raises(ManifestError, match="no recording is in the validation split"):
        load_corpus(missing(meta={"split": "train"}), metrics=METRICS)
    with pytest.raises(ManifestError, match="no training recording has a 'mcd' label"):
        load_corpus(missing(), metrics=["mos", "mcd"])
    with pytest.raises(ManifestError, match="'pesq' labels cannot be"):
        load_corpus(missing(metrics={"mos_overall": 3.0, "pesq": 99.0}), metrics=METRICS)


def test_a_metric_without_labels_is_refused(manifest: Path) -> None:
    with pytest.raises(ManifestError, match="no training recording has a 'mcd' label"):
        load_corpus(config(manifest), metrics=["mos", "mcd"])


def test_ratings_on_another_scale_are_refused(manifest: Path) -> None:
    path = rewritten(manifest, "mushra.jsonl", metrics={"mos_overall": 74.0, "pesq": 2.0})
    with pytest.raises(
        ManifestError, match=r"12 of 12 'mos' labels lie outside 1 to 5.* is 74, of"
    ):
        load_corpus(config(path), metrics=METRICS, mos_bounds=(1.0, 5.0))
    for bounds in ((0.0, 100.0), (1.0, None)):
        assert load_corpus(
            config(path, validation_share=0.4), metrics=METRICS, mos_bounds=bounds
        ).train.recordings
    assert load_corpus(
        config(path, validation_share=0.4), metrics=["pesq"], mos_bounds=(1.0, 5.0)
    ).train.recordings


def test_a_missing_audio_file_is_refused_before_training(manifest: Path) -> None:
    path = rewritten(manifest, "gone.jsonl", audio_path="gone.wav")
    with pytest.raises(ManifestError, match=r"recordings have no audio file.*gone\.wav"):
        load_corpus(config(path, validation_share=0.4), metrics=METRICS)


def test_references_are_opened_where_they_are_asked_for(manifest: Path) -> None:
    assert load_corpus(config(manifest), metrics=METRICS).references is None
    corpus = load_corpus(config(manifest), metrics=METRICS, with_references=True)
    assert corpus.references is not None
    noisy = [r.system_id for r in corpus.train.recordings].index("2")
    read = corpus.references.read(
        np.array([noisy]), starts=np.zeros(1, dtype=np.int64), lengths=np.array([6400])
    )
    clean = corpus.train.recordings[noisy].meta["reference_path"]
    np.testing.assert_array_equal(read[0], soundfile.read(clean, dtype="float32")[0])


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"reference_path": "gone.wav"}, r"1 of 1 references have no audio file.*gone\.wav"),
        ({}, r"no training recording states its reference \(meta\.reference_path\)"),
    ],
)
def test_missing_references_are_told_before_training(
    manifest: Path, meta: dict[str, str], told: str
) -> None:
    path = rewritten(manifest, "astray.jsonl", meta=meta)
    with pytest.raises(ManifestError, match=told):
        load_corpus(config(path, validation_share=0.4), metrics=METRICS, with_references=True)


def test_a_uid_in_two_manifests_is_two_recordings(manifest: Path) -> None:
    other = rewritten(manifest, "again.jsonl", meta={"split": "train", "corpus": "other"})
    alone = load_corpus(config(manifest), metrics=METRICS)
    both = load_corpus(config(manifest, other), metrics=METRICS)
    assert len(both.train.recordings) == len(alone.train.recordings) + 12
    assert both.digest != alone.digest


def test_manifests_that_name_no_corpus_are_corpora_of_their_own(
    manifest: Path, tmp_path: Path
) -> None:
    first = rewritten(manifest, "first.jsonl")
    (tmp_path / "elsewhere").mkdir()
    others = [manifest.with_name("second.jsonl"), tmp_path / "elsewhere/first.jsonl"]
    for other in others:
        lines = [json.loads(line) for line in first.read_text().splitlines()]
        places = [{"audio_path": str(manifest.parent / line["audio_path"])} for line in lines]
        text = "".join(json.dumps(a | b) + "\n" for a, b in zip(lines, places, strict=True))
        other.write_text(text)
    options = {"validation_share": 0.4}
    alone = load_corpus(config(first, **options), metrics=METRICS)
    assert {r.meta.get("corpus") for r in alone.recordings} == {None}
    together = load_corpus(config(first, *others, **options), metrics=METRICS)
    num_each = len(alone.recordings)
    named = [recording.meta["corpus"] for recording in together.recordings]
    assert named == [name for name in ("first 0", "second", "first 2") for _ in range(num_each)]
    # Another manifest moves nothing to the other side.
    held = {r.reference_id for r in alone.validation.recordings}
    assert {r.reference_id for r in together.validation.recordings} == held
    # A corpus that is named keeps its name.
    stated = rewritten(manifest, "stated.jsonl", meta={"corpus": "named"})
    both = load_corpus(config(stated, first, **options), metrics=METRICS)
    assert {r.meta["corpus"] for r in both.recordings} == {"named", "first"}


@pytest.mark.parametrize("split", ["dev", "val", ""])
def test_a_split_of_an_unknown_name_is_refused(manifest: Path, split: str) -> None:
    path = rewritten(manifest, "dev.jsonl", meta={"split": split, "corpus": "other"})
    told = rf"meta.split is '{split}' of \d+ recordings: expected 'train', 'validation', or 'test'"
    with pytest.raises(ManifestError, match=told):
        load_corpus(config(manifest, path), metrics=METRICS)


def test_a_uid_in_two_manifests_is_refused_where_a_table_names_it(
    manifest: Path, tmp_path: Path
) -> None:
    other = rewritten(manifest, "again.jsonl")
    (tmp_path / "labels.csv").write_text("uid,mcd\n0:0,3.5\n")
    tables = [str(tmp_path / "labels.csv")]
    with pytest.raises(ManifestError, match="uid '0:0' is also in"):
        load_corpus(config(manifest, other, labels=tables), metrics=METRICS)


def test_a_label_table_is_merged(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("uid,mcd\n0:0,3.5\n")
    corpus = load_corpus(config(manifest, labels=[str(tmp_path / "labels.csv")]), metrics=["mcd"])
    assert corpus.train.recordings[0].metrics["mcd"] == 3.5


def test_the_digest_changes_with_a_label_and_not_with_the_order_of_fields(
    manifest: Path, tmp_path: Path
) -> None:
    before = load_corpus(config(manifest), metrics=METRICS).digest
    assert load_corpus(config(manifest), metrics=METRICS).digest == before
    (tmp_path / "labels.csv").write_text("uid,mos\n0:0,1.5\n")
    after = load_corpus(config(manifest, labels=[str(tmp_path / "labels.csv")]), metrics=METRICS)
    assert after.digest != before


def test_the_digest_has_the_references_where_they_are_asked_for(manifest: Path) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    del rows[-1]["meta"]["reference_path"]
    path = manifest.with_name("one_less.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def digest(manifest: Path, *, with_references: bool) -> str:
        settings = config(manifest, validation_share=0.4)
        return load_corpus(settings, metrics=METRICS, with_references=with_references).digest

    assert digest(path, with_references=False) == digest(manifest, with_references=False)
    assert digest(path, with_references=True) != digest(manifest, with_references=True)


def test_the_digest_has_the_strength_pairs_and_not_the_names_of_their_families(
    manifest: Path,
) -> None:
    def digest(
        families: str, *, strengths: tuple[float, ...] = (0.1, 0.2, 0.3), seed: int = 1
    ) -> str:
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        rows = [{**row, "reference_id": "r"} for row in rows]
        # The third has noise of another seed, unless that is 1.
        for row, family, strength, of in zip(rows, families, strengths, (1, 1, seed), strict=False):
            steps = [{"kind": "noise", "seed": of}]
            row["meta"] |= {"family": family, "strength": strength, "distortions": steps}
        path = manifest.with_name("families.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_corpus(config(path), metrics=METRICS).digest

    assert digest("fff") == digest("ggg")
    assert digest("ffg") == digest("ggf")
    others = [
        digest("fff"), digest("ffg"), digest("fgg"), digest("fff", seed=2),
        digest("fff", strengths=(0.1, 0.2, 0.4)),
    ]  # fmt: skip
    # What is of another seed is of another family.
    assert len(set(others)) == 4
    assert digest("fff", seed=2) == digest("ffg")


def test_a_label_that_cannot_be_is_refused(manifest: Path) -> None:
    path = rewritten(manifest, "percent.jsonl", metrics={"mos_overall": 3.0, "pesq": 99.0})
    with pytest.raises(ManifestError, match=r"'pesq' labels cannot be, the first is 99"):
        load_corpus(config(path, validation_share=0.4), metrics=METRICS)
