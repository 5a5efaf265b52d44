import json
from dataclasses import replace
from pathlib import Path

import pytest

from urgentmos.data.manifest import ManifestError, Pair, Recording, write_manifest, write_pairs
from urgentmos.evaluation.material import Material, MaterialError, read_material
from urgentmos.evaluation.preference import A_BETTER, B_BETTER, TIE


@pytest.fixture
def judged(rated: Path) -> Path:
    """One pair, of a recording of the rated corpus and another."""
    path = rated.parent / "judged.jsonl"
    write_pairs(path, [Pair(rated.parent / "0_0.wav", rated.parent / "x.wav", 1.0, (1.0, 1.0))])
    return path


def test_every_file_comes_once_and_every_recording_of_it_as_it_is(
    rated: Path, judged: Path
) -> None:
    material = read_material([judged, rated])
    assert len(material.paths) == len(set(material.paths)) == 10
    named = [(recording.audio_path.name, recording.system_id) for recording in material.recordings]
    assert len(named) == 11
    assert {("0_0.wav", "s0"), ("0_0.wav", "-"), ("x.wav", "-")} <= set(named)


def _with_references(rated: Path, name: str, reference: str | None) -> Path:
    """Write a copy of the rated manifest: another corpus, whose files have a reference."""
    rows = [json.loads(line) for line in rated.read_text().splitlines()]
    for row in rows:
        row |= {"corpus": name, "reference_path": reference}
    path = rated.with_name(f"{name}.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("references", "known"),
    [
        ([None, None], None),
        (["2_0.wav", None], "2_0.wav"),
        (["2_0.wav", "../" * 99 + "{folder}/2_0.wav"], "2_0.wav"),
        (["2_0.wav", "2_1.wav"], None),
    ],
    ids=["none", "one", "one, spelled in two ways", "two"],
)
def test_given_pairs_have_the_reference_that_corpora_state_of_a_file_unless_they_disagree(
    rated: Path, judged: Path, references: list[str | None], known: str | None
) -> None:
    stated = [each and each.format(folder=rated.parent) for each in references]
    one, two = (
        _with_references(rated, name, each)
        for name, each in zip(("one", "two"), stated, strict=True)
    )
    for order in ([one, two, judged], [judged, two, one]):
        ((first, other),) = (pairs.recordings for pairs in read_material(order).pair_sets)
        reference = first.meta.get("reference_path")
        assert (reference and Path(reference).name) == known
        assert other.meta == {}


def _from_folder(manifest: Path, folder: str) -> Path:
    """Move a manifest into a folder beside its audio, which it names by `..` then."""
    path = manifest.parent / folder / manifest.name
    path.parent.mkdir()
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        if "audio_path" in row:
            row["audio_path"] = f"../{row['audio_path']}"
        else:
            row["audio_paths"] = [f"../{member}" for member in row["audio_paths"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest.unlink()
    return path


def test_a_file_that_manifests_of_several_folders_spell_differently_is_one(
    rated: Path, judged: Path
) -> None:
    one = _with_references(rated, "one", "2_0.wav")
    manifests = [one, _from_folder(rated, "a"), _from_folder(judged, "b")]
    for order in (manifests, manifests[::-1]):
        material = read_material(order)
        assert len(material.paths) == 10
        (pairs,) = material.pair_sets
        assert pairs.recordings[0].meta["reference_path"] == str(rated.parent / "2_0.wav")


def test_two_corpora_of_one_name_are_refused(rated: Path) -> None:
    copy = rated.with_name("copy.jsonl")
    copy.write_text(rated.read_text())
    with pytest.raises(MaterialError, match="several manifests hold a corpus named 'noisy'"):
        read_material([rated, copy])


def test_without_ratings_labels_of_a_metric_or_pairs_are_enough(rated: Path, judged: Path) -> None:
    (corpus,) = read_material([rated]).corpora
    labelled = [replace(recording, metrics={"estoi": 0.5}) for recording in corpus.recordings]
    unrated = replace(corpus, recordings=labelled)
    Material([unrated], []).check_labelled(["pesq", "estoi"])
    Material([unrated], read_material([judged]).pair_sets).check_labelled(["pesq"])
    with pytest.raises(MaterialError, match="'metrics' with one of mos, pesq; found estoi"):
        Material([unrated], []).check_labelled(["pesq", "pesq"])


def test_the_tie_threshold_holds_for_pairs_that_say_by_how_much_and_spares_verdicts(
    tmp_path: Path,
) -> None:
    by_cmos = {"graded": (0.7, -2.0, 1.5), "verdicts": (1.0, -1.0, 0.0)}
    for name, scores in by_cmos.items():
        pairs = [Pair(Path("a"), Path(f"b{i}"), cmos, (1.0, 1.0)) for i, cmos in enumerate(scores)]
        write_pairs(tmp_path / f"{name}.jsonl", pairs)
    paths = [tmp_path / f"{name}.jsonl" for name in by_cmos]
    graded, verdicts = read_material(paths, delta=1.5).pair_sets
    assert (graded.delta, graded.labels.tolist()) == (1.5, [TIE, B_BETTER, TIE])
    assert verdicts.labels.tolist() == [A_BETTER, B_BETTER, TIE]
    assert read_material(paths).pair_sets[0].labels.tolist() == [A_BETTER, B_BETTER, A_BETTER]


def _labelled(folder: Path, name: str, *uids: str) -> Path:
    """Write a manifest of the public form, whose recordings have ratings alone."""
    path = folder / f"{name}.jsonl"
    rows = [Recording(Path(f"{name}_{uid}.wav"), uid, "s", "r", 1.0, {"mos": 3.0}) for uid in uids]
    write_manifest(path, rows)
    return path


def test_label_tables_are_merged_once_over_all_manifests(tmp_path: Path) -> None:
    manifests = [_labelled(tmp_path, "one", "a", "b"), _labelled(tmp_path, "two", "c")]
    tables = [tmp_path / "one.csv", tmp_path / "two.csv"]
    tables[0].write_text("uid,pesq\na,1.5\nb,2\n")
    tables[1].write_text("uid,pesq\nc,2.5\n")
    for order in (manifests, manifests[::-1]):
        corpora = {corpus.name: corpus for corpus in read_material(order, labels=tables).corpora}
        assert corpora["one"].labels("pesq").tolist() == [1.5, 2.0]
        assert corpora["two"].labels("pesq").tolist() == [2.5]
    # One of a single corpus leaves the other as it is.
    one, two = read_material(manifests, labels=tables[:1]).corpora
    assert one.labels("pesq").tolist() == [1.5, 2.0]
    assert [recording.metrics for recording in two.recordings] == [{"mos": 3.0}]
    with pytest.raises(ManifestError, match=r"two\.csv: none of its uids is in the manifest"):
        read_material(manifests[:1], labels=tables)


def test_a_uid_in_two_manifests_is_refused_where_there_are_label_tables(tmp_path: Path) -> None:
    manifests = [_labelled(tmp_path, "one", "a", "b"), _labelled(tmp_path, "two", "b")]
    (tmp_path / "labels.csv").write_text("uid,pesq\na,1.5\n")
    assert len(read_material(manifests).corpora) == 2
    with pytest.raises(ManifestError, match=r"two\.jsonl: uid 'b' is also in .*one\.jsonl"):
        read_material(manifests, labels=[tmp_path / "labels.csv"])
