"""Each recipe prepares a miniature of the layout in which its corpus is distributed."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.data.corpora.preparation import Prepared, compare_counts, prepare
from urgentmos.data.corpora.recipe import RatedFile, Recipe
from urgentmos.data.manifest import Recording, read_manifest, read_pairs
from urgentmos.evaluation.ratings import read_rated_corpora

from .conftest import RECIPES, load_recipe

Prepare = Callable[[str], Prepared]
NOT_CORPORA = {"default", "demo", "listening", "mos_rmbench", "objectives", "urgentmos_preference"}


def _by_uid(prepared: Prepared, corpus: str) -> dict[str, Recording]:
    return {recording.uid: recording for recording in prepared.recordings[corpus]}


def _wav_bytes(seconds: float = 0.25) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(int(8000 * seconds)) + 0.1, 8000, format="WAV")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["bvcc", "bc19"])
def test_voicemos_2022(name: str, write, audio, prepare_corpus: Prepare, tmp_path: Path) -> None:
    write(
        f"{name}/DATA/sets/TRAINSET",
        "sysA,sysA-utt1.wav,4,x,{}_30-39_l1_Female\nsysA,sysA-utt1.wav,2,x,{}_30-39_l2_Male\n"
        "sysB,sysB-utt1.wav,5,x,l1\n",
    )
    write(f"{name}/DATA/sets/DEVSET", "sysA,sysA-utt2.wav,3,x,l1\n")
    write(f"{name}/DATA/sets/TESTSET", "sysB,sysB-utt3,1,x,l1\n")
    for stem in ("sysA-utt1", "sysB-utt1", "sysA-utt2", "sysB-utt3"):
        audio(f"{name}/DATA/wav/{stem}.wav")
    prepared = prepare_corpus(name)
    assert not prepared.problems.counts
    rows = _by_uid(prepared, name)
    first = rows["sysA:utt1"]
    assert (first.metrics["mos"], first.meta["votes"], first.meta["split"]) == (3.0, 2, "train")
    assert first.duration == 0.5
    assert [rows[uid].meta["split"] for uid in ("sysA:utt2", "sysB:utt3")] == ["validation", "test"]
    # What was written is what was prepared.
    assert {r.uid for r in read_manifest(tmp_path / "manifests" / f"{name}.jsonl")} == set(rows)


def test_nisqa(write, audio, prepare_corpus: Prepare) -> None:
    header = "db,con,file,filename_deg,filename_ref,lang,votes,mos,noi,col,dis,loud\n"
    tables = {
        "TRAIN_SIM": [
            "00012.wav,r12.wav,en,5,3.2,4,4,4,4",
            "book_1_c7.wav,book_1.wav,en,5,2,4,4,4,4",
        ],
        "TRAIN_LIVE": ["call1.wav,r.wav,en,5,3.2,4,4,4,4"],
        "VAL_SIM": ["00099.wav,r12.wav,en,5,4.2,4,4,4,4"],
        "VAL_LIVE": ["call2.wav,r.wav,en,5,3.2,4,4,4,4"],
        "TEST_LIVETALK": ["c01_de_m1.wav,,de,24,3.1,4,4,4,4"],
        "TEST_FOR": ["c01_FOR_m1.wav,,en,30,2.1,4,4,4,4"],
        "TEST_P501": ["c01_P501_f1.wav,,en,28,1.5,2,4,4,4", "c02_P501_f1.wav,,en,28,3.5,4,4,4,4"],
    }
    for subset, lines in tables.items():
        text = header + "".join(f"db,{i + 1}.0,{i},{line}\n" for i, line in enumerate(lines))
        write(f"NISQA_{subset}/NISQA_{subset}_file.csv", text)
        for line in lines:
            audio(f"NISQA_{subset}/deg/{line.split(',')[0]}")
    prepared = prepare_corpus("nisqa")
    assert not prepared.problems.counts
    assert set(prepared.recordings) == {
        "nisqa_train_sim", "nisqa_train_live", "nisqa_val_sim", "nisqa_val_live",
        "nisqa_livetalk", "nisqa_for", "nisqa_p501",
    }  # fmt: skip
    p501 = prepared.recordings["nisqa_p501"]
    assert {recording.reference_id for recording in p501} == {"P501_f1"}
    assert [recording.system_id for recording in p501] == ["1", "2"]
    assert p501[0].metrics == {
        "mos": 1.5, "mos_noisiness": 2.0, "mos_coloration": 4.0, "mos_discontinuity": 4.0,
        "mos_loudness": 4.0,
    }  # fmt: skip
    assert p501[0].meta["votes"] == 28
    simulated = _by_uid(prepared, "nisqa_train_sim")
    assert set(simulated) == {"1:00012", "c7:book_1"}


def test_pstn(write, audio, prepare_corpus: Prepare) -> None:
    write("pstn_train/pstn_train.csv", "filename,MOS,std,95%CI,votes\n7_a_b.wav,3.4,1,0.2,5\n")
    audio("pstn_train/7_a_b.wav")
    (recording,) = prepare_corpus("pstn").recordings["pstn"]
    assert (recording.reference_id, recording.metrics["mos"]) == ("7", 3.4)
    assert recording.meta["votes"] == 5


def test_somos(write, audio, prepare_corpus: Prepare) -> None:
    clean = "training_files/split1/clean"
    header = "systemId,utteranceId,choice,listenerId\n"
    write(f"{clean}/TRAINSET", header + "015,novel_1_015.wav,4,L1\n015,novel_1_015.wav,5,L2\n")
    write(f"{clean}/VALIDSET", header + "016,novel_1_016.wav,2,L1\n")
    write(f"{clean}/TESTSET", header + "015,conv_9_015,3,L1\n")
    for stem in ("novel_1_015", "novel_1_016", "conv_9_015"):
        audio(f"audios/{stem}.wav")
    prepared = prepare_corpus("somos")
    assert not prepared.problems.counts
    rows = _by_uid(prepared, "somos")
    assert rows["015:novel_1"].metrics["mos"] == 4.5
    assert rows["016:novel_1"].reference_id == "novel_1"
    assert rows["015:conv_9"].meta["split"] == "test"


def test_tencent(write, audio, prepare_corpus: Prepare) -> None:
    write("withoutReverberationTrainDevMOS.csv", "deg_wav,mos\n./withoutReverb/a.wav,3.5\n")
    write("withReverberationTrainDevMOS.csv", "deg_wav,mos\n./withReverb/a.wav,2.5\n")
    audio("withoutReverb/a.wav")
    audio("withReverb/a.wav")
    prepared = prepare_corpus("tencent")
    assert not prepared.problems.counts
    assert {r.reference_id: r.metrics["mos"] for r in prepared.recordings["tencent"]} == {
        "withoutReverb/a": 3.5,
        "withReverb/a": 2.5,
    }


def test_tmhint_qi_counts_votes_without_quality(write, audio, prepare_corpus: Prepare) -> None:
    write(
        "raw_data.csv",
        "idx,method,uttr,snr,noise,quality_score,intelligibility_score,file_name\n"
        "0,FCN,b1_01,5,pink,4,5,FCN_5_pink_TMHINT_b1_01_03\n"
        "1,FCN,b1_01,5,pink,2,5,FCN_5_pink_TMHINT_b1_01_03\n"
        "2,FCN,b1_01,5,pink,,5,FCN_5_pink_TMHINT_b1_01_03\n"
        "3,Trans,g2_01,0,babble,3,5,Trans_0_babble_TMHINT_g2_01_03\n",
    )
    audio("train/FCN_5_pink_TMHINT_b1_01_03.wav")
    audio("test/Trans_0_babble_TMHINT_g2_01_03.wav")
    prepared = prepare_corpus("tmhint_qi")
    assert dict(prepared.problems.counts) == {"row without quality score": 1}
    rows = _by_uid(prepared, "tmhint_qi")
    first = rows["FCN-SNR5-pink:TMHINT_b1_01_03"]
    assert (first.metrics["mos"], first.meta["votes"], first.meta["speaker"]) == (3.0, 2, "b1")
    assert rows["Trans-SNR0-babble:TMHINT_g2_01_03"].meta["split"] == "test"


def test_tcd_voip(corpus: Path, audio, prepare_corpus: Prepare) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Subjective Test Scores"
    book.active.append(["Filename", "ConditionID", *range(1, 25), "Mean"])
    book.active.append(["C_01_ECHO_FA.wav", 1, *[4] * 12, *[2] * 12, 3.0])
    book.active.append(["C_02_ECHO_FA.wav", 2, *[5] * 23, None, 5.0])
    book.save(corpus / "scores.xlsx")
    audio("Test Set/echo/C_01_ECHO_FA.wav")
    audio("Test Set/echo/C_02_ECHO_FA.wav")
    prepared = prepare_corpus("tcd_voip")
    assert not prepared.problems.counts
    rows = _by_uid(prepared, "tcd_voip")
    assert rows["001:ECHO_FA"].metrics["mos"] == 3.0
    assert rows["002:ECHO_FA"].meta["votes"] == 23


def test_ttsds2_takes_only_mos(write, audio, prepare_corpus: Prepare) -> None:
    write(
        "subjective_results.csv",
        "audio,dataset,system,rating_type,value,annotator,survey_part,page,id\n"
        "wild/f5/a.wav,wild,f5,mos,4,p1,1,1,1\nwild/f5/a.wav,wild,f5,mos,5,p2,1,1,2\n"
        "wild/f5/a.wav,wild,f5,smos,1,p2,1,1,3\n",
    )
    audio("wild/f5/a.wav")
    (recording,) = prepare_corpus("ttsds2").recordings["ttsds2"]
    assert (recording.uid, recording.metrics["mos"]) == ("wild-f5:a", 4.5)


def test_chime7_udase_leaves_the_anchors_out(write, audio, prepare_corpus: Prepare) -> None:
    write(
        "listening_test/MOS_results_listening_test.csv",
        "condition,sample,rating_list\n"
        'ref,S01.wav,"[5, 5]"\nnoisy,S01.wav,"[2, 3]"\nC1,S01.wav,"[4, 4, 5]"\n',
    )
    for condition in ("noisy", "C1"):
        audio(f"listening_test/data/{condition}/S01.wav")
    rows = _by_uid(prepare_corpus("chime7_udase"), "chime7_udase")
    assert {uid: row.metrics["mos"] for uid, row in rows.items()} == {
        "noisy:S01": 2.5,
        "C1:S01": pytest.approx(13 / 3),
    }
    assert rows["C1:S01"].meta["votes"] == 3


def test_singmos(write, audio, prepare_corpus: Prepare) -> None:
    for number, split in enumerate(("train", "val", "test")):
        stem = f"voicemos2024-track2-sys000{number}-utt0001"
        write(f"DATA/sets/{split}_mos_list.txt", f"{stem},4.200000\n")
        audio(f"DATA/wav/{stem}.wav")
    prepared = prepare_corpus("singmos")
    assert not prepared.problems.counts
    rows = _by_uid(prepared, "singmos")
    assert set(rows) == {"sys0000:utt0001", "sys0001:utt0001", "sys0002:utt0001"}
    assert rows["sys0001:utt0001"].meta["split"] == "validation"


def test_vmc23_tracks_are_listening_tests(write, audio, prepare_corpus: Prepare) -> None:
    write(
        "answer.txt",
        "VoiceMOS2023Track1-A-AD_test_0026,4.42\nVoiceMOS2023Track2-B01-SF1-CDF1-30001,2.85\n"
        "VoiceMOS2023Track3-Noisy_snr5_white_TMHINT_g4_32_03,4.0\n"
        "VoiceMOS2023Track3-clean_TMHINT_b1_01_03,5.0\n",
    )
    for stem in (
        "VoiceMOS2023Track1-A-AD_test_0026", "VoiceMOS2023Track2-B01-SF1-CDF1-30001",
        "VoiceMOS2023Track3-Noisy_snr5_white_TMHINT_g4_32_03",
        "VoiceMOS2023Track3-clean_TMHINT_b1_01_03",
    ):  # fmt: skip
        audio(f"wav/{stem}.wav")
    prepared = prepare_corpus("vmc23")
    assert not prepared.problems.counts
    assert set(_by_uid(prepared, "vmc23_track1")) == {"A-AD:test_0026"}
    (second,) = prepared.recordings["vmc23_track2"]
    assert (second.uid, second.meta["speaker"]) == ("B01:30001:SF1-CDF1", "CDF1")
    assert {r.uid: r.meta["speaker"] for r in prepared.recordings["vmc23_track3"]} == {
        "Noisy_snr5_white:g4_32_03": "g4",
        "clean:b1_01_03": "b1",
    }


def test_vmc23_keeps_every_source_and_target_of_a_content(
    write, audio, prepare_corpus: Prepare
) -> None:
    stems = [
        f"VoiceMOS2023Track2-B01-{source}-{target}-30001"
        for source in ("SF1", "SM1")
        for target in ("CDF1", "CDM1")
    ]
    write("answer.txt", "".join(f"{stem},3.0\n" for stem in stems))
    for stem in stems:
        audio(f"wav/{stem}.wav")
    prepared = prepare_corpus("vmc23")
    assert not prepared.problems.counts
    recordings = prepared.recordings["vmc23_track2"]
    assert len({r.uid for r in recordings}) == 4
    assert {(r.system_id, r.reference_id) for r in recordings} == {("B01", "30001")}


@pytest.mark.parametrize("unrated", [None, math.nan])
@pytest.mark.parametrize("name", ["urgent2024_sqa", "urgent2025_sqa"])
def test_urgent_sqa_writes_audio_out_and_keeps_unrated(
    name: str, unrated: float | None, corpus: Path, prepare_corpus: Prepare, tmp_path: Path
) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (corpus / "data").mkdir()
    for split, mos in (("validation", unrated), ("nonblind_test", 3.5), ("blind_test_mos", 4.25)):
        rows = [
            {
                "sample_id": f"{split}_1",
                "system_id": "team_7",
                "mos": mos,
                "raw_ratings": None,
                "audio": {"bytes": _wav_bytes(), "path": "1.wav"},
            }
        ]
        table = arrow.Table.from_pylist(rows)
        parquet.write_table(table, corpus / "data" / f"{split}-00000-of-00001.parquet")
    prepared = prepare_corpus(name)
    assert not prepared.problems.counts
    rows = _by_uid(prepared, name)
    assert rows["team_7:validation_1"].metrics == {}
    assert rows["team_7:blind_test_mos_1"].metrics == {"mos": 4.25}
    assert rows["team_7:blind_test_mos_1"].meta["split"] == "test"
    written = read_manifest(tmp_path / "manifests" / f"{name}.jsonl")
    assert all(soundfile.info(r.audio_path).duration == 0.25 for r in written)


def test_names_in_a_table_lead_nowhere_else(
    corpus: Path, prepare_corpus: Prepare, tmp_path: Path
) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (corpus / "data").mkdir()
    audio = {"bytes": _wav_bytes(), "path": "1.wav"}
    outside = str(tmp_path / "outside")
    rows = [
        {"sample_id": "s", "system_id": system, "mos": 3.0, "audio": audio}
        for system in (outside, "../..", "..", "")
    ]
    for split in ("validation", "nonblind_test", "blind_test_mos"):
        table = arrow.Table.from_pylist(rows)
        parquet.write_table(table, corpus / "data" / f"{split}-00000-of-00001.parquet")
    before = set(tmp_path.rglob("*.wav"))
    prepared = prepare_corpus("urgent2024_sqa")
    assert prepared.problems.counts["unusable name"] == 12
    assert set(tmp_path.rglob("*.wav")) == before


def test_speecheval_joins_pairs_with_verdicts(
    corpus, write, audio, prepare_corpus, tmp_path
) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (corpus / "rawdata").mkdir()
    verdicts = {"k1": "A", "k2": "B", "k3": "tie", "k4": "?"}
    for split in ("train", "validation", "test"):
        rows = [
            {"task": "CompareEval", "key": key, "path": "x/1.wav", "path_B": "x/2.wav"}
            for key in verdicts
        ] + [{"task": "SQA", "key": "k5", "path": "x/1.wav", "path_B": None}]
        table = arrow.Table.from_pylist(rows)
        parquet.write_table(table, corpus / "rawdata" / f"{split}-00000-of-00001.parquet")
        lines = [json.dumps({"key": k, "preference": v}) for k, v in verdicts.items()]
        write(f"preference/{split}.jsonl", "\n".join(lines))
    audio("rawdata/x/1.wav")
    audio("rawdata/x/2.wav")
    prepared = prepare_corpus("speecheval")
    assert dict(prepared.problems.counts) == {"pair without a verdict": 3}
    pairs = read_pairs(tmp_path / "manifests" / "speecheval_test.jsonl")
    assert [pair.cmos for pair in pairs] == [1.0, -1.0, 0.0]
    assert pairs[0].durations == (0.5, 0.5)


def test_speechjudge_writes_audio_out(corpus, prepare_corpus: Prepare, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for split in ("train", "dev", "test"):
        cell = {"bytes": _wav_bytes(), "path": None}
        rows = [
            {"index": i, "audioA": cell, "audioB": cell, "naturalness_label": label}
            for i, label in enumerate(("A", "B", "Tie"))
        ]
        table = arrow.Table.from_pylist(rows)
        parquet.write_table(table, corpus / f"{split}-00000-of-00001.parquet")
    prepared = prepare_corpus("speechjudge")
    assert not prepared.problems.counts
    assert set(prepared.pairs) == {"train", "validation", "test"}
    pairs = read_pairs(tmp_path / "manifests" / "speechjudge_validation.jsonl")
    assert [pair.cmos for pair in pairs] == [1.0, -1.0, 0.0]
    assert all(pair.a.is_file() for pair in pairs)


def test_own_folder_needs_two_columns_and_averages_listeners(
    write, audio, prepare_corpus: Prepare
) -> None:
    write("ratings.csv", "path,rating,system\na.wav,4,mine\na.wav,5,mine\nsub/b.wav,2,other\n")
    audio("a.wav")
    audio("sub/b.wav")
    rows = _by_uid(prepare_corpus("own_folder"), "own_folder")
    assert rows["mine:a.wav"].metrics["mos"] == 4.5
    assert rows["other:sub/b.wav"].system_id == "other"


def test_own_folder_takes_several_recordings_of_a_reference_without_naming_systems(
    write, audio, prepare_corpus: Prepare
) -> None:
    write("ratings.csv", "path,rating,reference\na.wav,4,hello\nb.wav,2,hello\n")
    audio("a.wav")
    audio("b.wav")
    prepared = prepare_corpus("own_folder")
    assert not prepared.problems.counts
    recordings = prepared.recordings["own_folder"]
    assert [r.reference_id for r in recordings] == ["hello", "hello"]


def test_own_folder_takes_one_sentence_of_a_system_by_two_speakers(
    write, audio, prepare_corpus: Prepare
) -> None:
    write(
        "ratings.csv",
        "path,rating,system,reference,speaker\na.wav,4,s,hello,anna\nb.wav,2,s,hello,ben\n",
    )
    audio("a.wav")
    audio("b.wav")
    rows = _by_uid(prepare_corpus("own_folder"), "own_folder")
    assert set(rows) == {"s:hello:anna", "s:hello:ben"}


def test_another_scale_keeps_further_ratings_and_writes_no_rating_as_null(
    audio, corpus: Path, tmp_path: Path
) -> None:
    further = {"mos_noise": 80.0, "mos_loudness": math.nan}
    rows = [
        RatedFile(audio("a.wav"), "s", "a", 60.0, "test", metrics=further),
        RatedFile(audio("b.wav"), "s", "b", None, "test"),
    ]
    recipe = Recipe("mushra", lambda folder, output, problems: iter(rows), scale=(0.0, 100.0))
    prepare(recipe, corpus, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "mushra.jsonl").read_text().splitlines()]
    assert [line["rating"] for line in lines] == [60.0, None]
    (read,) = read_rated_corpora(tmp_path / "mushra.jsonl")
    assert read.scale == (0.0, 100.0)
    assert [r.metrics for r in read.recordings] == [{"mos": 60.0, "mos_noise": 80.0}, {}]


def test_nothing_is_dropped_silently(write, audio, corpus: Path, prepare_corpus: Prepare) -> None:
    write(
        "ratings.csv",
        "path,rating,system,reference\ngood.wav,4,s,r\nnone.wav,4,s,r2\nhigh.wav,7,s,r3\n"
        "text.wav,fine,s,r4\ntwin.wav,3,s,r\nbroken.wav,3,s,r5\n",
    )
    for name in ("good.wav", "high.wav", "text.wav", "twin.wav"):
        audio(name)
    (corpus / "broken.wav").write_bytes(b"RIFF")
    prepared = prepare_corpus("own_folder")
    assert [r.audio_path.name for r in prepared.recordings["own_folder"]] == ["good.wav"]
    assert dict(prepared.problems.counts) == {
        "missing file": 1,
        "rating out of range": 1,
        "rating is no number": 1,
        "duplicate id": 1,
        "unreadable audio": 1,
    }
    lines = "\n".join(prepared.problems.lines())
    assert all(f"{name}.wav" in lines for name in ("none", "high", "text", "twin", "broken"))


def test_a_file_that_does_not_state_its_length_has_a_duration(
    write, corpus: Path, prepare_corpus: Prepare
) -> None:
    write("ratings.csv", "path,rating\na.flac,4\n")
    soundfile.write(corpus / "a.flac", np.zeros(4000) + 0.1, 8000)
    content = bytearray((corpus / "a.flac").read_bytes())
    # As written to a pipe: STREAMINFO has 0 for the number of samples.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (corpus / "a.flac").write_bytes(content)
    (recording,) = prepare_corpus("own_folder").recordings["own_folder"]
    assert recording.duration == 0.5


@pytest.mark.parametrize(
    "name", ["bvcc", "nisqa", "pstn", "somos", "tencent", "tmhint_qi", "tcd_voip", "ttsds2",
             "chime7_udase", "singmos", "vmc23", "own_folder"],
)  # fmt: skip
def test_missing_tables_are_named(name: str, prepare_corpus: Prepare) -> None:
    prepared = prepare_corpus(name)
    assert not prepared.counts
    assert prepared.problems.counts["unreadable table"] >= 1


def test_a_table_with_other_columns_is_named_with_what_it_has(
    write, prepare_corpus: Prepare
) -> None:
    write("ratings.csv", "file,mos\na.wav,4\n")
    prepared = prepare_corpus("own_folder")
    assert "no column 'path' in file, mos" in prepared.problems.lines()[0]


def test_counts_are_set_beside_the_published_ones(write, audio, prepare_corpus: Prepare) -> None:
    write("listening_test/MOS_results_listening_test.csv",
          'condition,sample,rating_list\nC1,S01.wav,"[4]"\n')  # fmt: skip
    audio("listening_test/data/C1/S01.wav")
    prepared = prepare_corpus("chime7_udase")
    (line,) = compare_counts(load_recipe("chime7_udase"), prepared.counts)
    assert line.startswith("chime7_udase test: 1 samples, 0.00 h, 1 systems")
    assert "-639 samples, -0.84 h, -4 systems" in line


def test_every_corpus_recipe_has_a_readme_and_a_test() -> None:
    names = {path.parent.name for path in RECIPES.glob("*/prepare.py")} - NOT_CORPORA
    assert len(names) == 17
    tested = Path(__file__).read_text()
    for name in names:
        assert load_recipe(name).name == name
        assert name in tested
        assert (RECIPES / name / "README.md").is_file()
