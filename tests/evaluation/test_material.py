from dataclasses import replace
from pathlib import Path

import pytest

from urgentmos.data.manifest import Pair, write_pairs
from urgentmos.evaluation.material import Material, MaterialError, read_material
from urgentmos.evaluation.preference import A_BETTER, B_BETTER, TIE


@pytest.fixture
def judged(rated: Path) -> Path:
    """One pair, of a recording of the rated corpus and another."""
    path = rated.parent / "judged.jsonl"
    write_pairs(path, [Pair(rated.parent / "0_0.wav", rated.parent / "x.wav", 1.0, (1.0, 1.0))])
    return path


def test_every_recording_comes_once_with_what_is_known_of_it(rated: Path, judged: Path) -> None:
    material = read_material([judged, rated])
    recordings = {recording.audio_path.name: recording for recording in material.recordings}
    assert len(material.recordings) == len(recordings) == 10
    assert recordings["0_0.wav"].system_id == "s0"
    assert recordings["x.wav"].system_id == "-"


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
