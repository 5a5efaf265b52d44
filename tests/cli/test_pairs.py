import errno
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from urgentmos.cli import build_app
from urgentmos.data import manifest

runner = CliRunner()


def told(result: Result) -> str:
    """Give what was printed as one line, without the frame that typer draws around messages."""
    return " ".join(result.output.replace("│", " ").split())


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Two contents by three systems, rated 1, 2 and 3."""
    lines = [
        {
            "audio_path": f"{system}_{content}.wav",
            "uid": f"{system}:{content}",
            "system_id": str(system),
            "reference_id": str(content),
            "duration": 1.0,
            "metrics": {"mos_overall": 1.0 + system},
        }
        for content in range(2)
        for system in range(3)
    ]
    path = tmp_path / "rated.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_rated_recordings_become_pairs_and_a_count_of_verdicts(rated: Path) -> None:
    output = rated.with_name("pairs.jsonl")
    result = runner.invoke(build_app(["pairs"]), ["pairs", str(rated), "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "6 pairs" in result.output
    assert "A better 0, tie 0, B better 6" in result.output
    assert json.loads(output.read_text().splitlines()[0]) == {
        "audio_paths": ["0_0.wav", "1_0.wav"],
        "metrics": {"mos_overall": -1.0},
        "durations": [1.0, 1.0],
    }


def test_native_pairs_pass_through_and_are_capped(rated: Path) -> None:
    first, second = rated.with_name("first.jsonl"), rated.with_name("second.jsonl")
    app = build_app(["pairs"])
    runner.invoke(app, ["pairs", str(rated), "-o", str(first), "--ordered"])
    result = runner.invoke(app, ["pairs", str(first), "-o", str(second), "--cap", "5"])
    assert "5 pairs" in result.output
    assert set(second.read_text().splitlines()) < set(first.read_text().splitlines())


def test_nothing_to_pair_is_a_usage_error_in_words(rated: Path) -> None:
    arguments = ["pairs", str(rated), "-o", "x.jsonl", "--matching", "strength"]
    result = runner.invoke(build_app(["pairs"]), arguments)
    assert result.exit_code == 2
    assert "no pairs by 'strength'" in result.output


def test_a_family_that_is_null_is_none(rated: Path) -> None:
    rows = [json.loads(line) for line in rated.read_text().splitlines()]
    families = [None, "noise", *[None] * len(rows)]
    for row, family in zip(rows, families, strict=False):
        row.setdefault("meta", {})["family"] = family
    rated.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["pairs", str(rated), "-o", "x.jsonl", "--matching", "strength"]
    result = runner.invoke(build_app(["pairs"]), arguments)
    assert result.exit_code == 2
    assert "and 1 a meta.family" in result.output


def test_where_every_pair_is_a_tie_to_be_dropped_that_is_said(rated: Path) -> None:
    arguments = ["pairs", str(rated), "-o", "x.jsonl", "--drop-ties-within", "5"]
    result = runner.invoke(build_app(["pairs"]), arguments)
    assert result.exit_code == 2
    assert "and meta.corpus, and MOS more than 5 apart" in result.output


@pytest.mark.parametrize("name", ["rated.jsonl", "labels.csv"])
def test_what_is_read_is_not_written_over(rated: Path, name: str) -> None:
    labels, output = rated.with_name("labels.csv"), rated.with_name(name)
    labels.write_text("uid,mos\n0:0,2\n")
    before = output.read_text()
    arguments = [str(rated), "--labels", str(labels), "-o", str(output), "--overwrite"]
    result = runner.invoke(build_app(["pairs"]), ["pairs", *arguments])
    assert result.exit_code == 2
    assert "is what is to be read; name another output" in told(result)
    assert output.read_text() == before


def test_an_output_that_exists_is_replaced_only_when_asked_for_and_whole(
    rated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, app = rated.with_name("pairs.jsonl"), build_app(["pairs"])
    output.write_text("precious")
    arguments = ["pairs", str(rated), "-o", str(output)]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "exists: replace it with --overwrite" in told(result)

    def fill_the_disk(path: Path, _: object) -> None:
        path.write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(manifest, "write_pairs", fill_the_disk)
        assert runner.invoke(app, [*arguments, "--overwrite"]).exit_code == 1
    assert output.read_text() == "precious"
    assert runner.invoke(app, [*arguments, "--overwrite"]).exit_code == 0
    assert len(output.read_text().splitlines()) == 6
    assert sorted(path.name for path in rated.parent.iterdir()) == ["pairs.jsonl", "rated.jsonl"]


def test_a_link_or_a_folder_is_no_output(rated: Path) -> None:
    link, folder = rated.with_name("link.jsonl"), rated.parent
    link.symlink_to("elsewhere.jsonl")
    for output, words in (
        (link, "is no plain file"),
        (folder, "is a folder: name a file"),
        (folder / "nowhere" / "pairs.jsonl", "does not exist: make it first"),
    ):
        arguments = ["pairs", str(rated), "-o", str(output), "--overwrite"]
        result = runner.invoke(build_app(["pairs"]), arguments)
        assert result.exit_code == 2
        assert words in told(result)


@pytest.mark.parametrize(
    "options", [["--labels", "nope.csv"], ["--ordered"], ["--matching", "ref"]], ids=lambda o: o[0]
)
def test_options_that_pair_recordings_are_refused_for_native_pairs(
    rated: Path, options: list[str]
) -> None:
    native, app = rated.with_name("native.jsonl"), build_app(["pairs"])
    runner.invoke(app, ["pairs", str(rated), "-o", str(native)])
    arguments = ["pairs", str(native), "-o", str(rated.with_name("pairs.jsonl")), *options]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert f"only capped and thinned: leave out {options[0]}" in told(result)


def test_a_manifest_that_does_not_exist_is_named(tmp_path: Path) -> None:
    arguments = ["pairs", "nowhere.jsonl", "-o", str(tmp_path / "pairs.jsonl")]
    result = runner.invoke(build_app(["pairs"]), arguments)
    assert result.exit_code == 2
    assert result.stderr == "urgentmos: nowhere.jsonl: No such file or directory\n"
