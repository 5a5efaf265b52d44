import gzip
from pathlib import Path

import pytest

from urgentmos.data.label_table import merge_tables, read_labels, write_labels
from urgentmos.data.manifest import ManifestError, Recording


@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz"])
def test_a_label_table_keeps_names_that_are_not_unicode(tmp_path: Path, name: str) -> None:
    recording = Recording(tmp_path / "a.wav", "caf\udce9:ü", "s", "r", 1.0, {"pesq": 2.0})
    write_labels(tmp_path / name, [recording])
    assert read_labels(tmp_path / name) == {recording.uid: recording.metrics}


def test_a_compressed_label_table_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    labels = {"pesq": 1.25, "mos": 3.5, "sigmos_col": 2.0}
    recordings = [Recording(tmp_path / "a.wav", "s1:r1", "s1", "r1", 2.5, labels)]
    for name in ("a.csv.gz", "b.csv.gz"):
        write_labels(tmp_path / name, recordings)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).startswith(
        b"uid,pesq,mos_overall,sigmos_col\ns1:r1,1.2500,3.5000,2.0000\n"
    )


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["id,pesq"], "expected the first column to be 'uid'"),
        (["uid,peqs"], "unknown metric 'peqs'"),
        (["uid,pesq", "a,1,2"], "labels.csv:2: expected 2 cells, got 3"),
        (["uid,pesq", "a,1", "a,2"], "labels.csv:3: uid 'a' comes twice"),
        (["uid,pesq", "a,high"], "labels.csv:2: pesq: expected a finite number"),
        (["uid,pesq", "a,inf"], "labels.csv:2: pesq: expected a finite number"),
    ],
)
def test_a_broken_label_table_is_refused(tmp_path: Path, lines: list[str], told: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(ManifestError) as error:
        read_labels(path)
    assert told in str(error.value)


def test_later_tables_replace_values_of_earlier_ones_in_every_manifest(tmp_path: Path) -> None:
    manifests = [
        (name, [Recording(Path(f"{name}.wav"), name, "s", "r", 1.0)]) for name in ("one", "two")
    ]
    tables = [tmp_path / "first.csv", tmp_path / "second.csv"]
    tables[0].write_text("uid,pesq,estoi\none,1,0.5\ntwo,2,0.6\n")
    tables[1].write_text("uid,pesq\ntwo,3\n")
    merge_tables(manifests, tables)
    found = [recording.metrics for _, (recording,) in manifests]
    assert found == [{"pesq": 1.0, "estoi": 0.5}, {"pesq": 3.0, "estoi": 0.6}]
