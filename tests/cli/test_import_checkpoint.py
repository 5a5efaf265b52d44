from pathlib import Path

import pytest
from typer.testing import CliRunner

from urgentmos.cli import build_app

GOLDEN = Path(__file__).parent.parent / "model" / "golden_public_checkpoint"


def test_command_writes_a_model_and_names_its_metrics(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the encoder is built with it")
    arguments = ["import-checkpoint", str(GOLDEN / "urgentmos.pt"), "-o", str(tmp_path / "out"),
                 "--trained-after-fix", "--encoder", str(GOLDEN / "encoder")]  # fmt: skip
    result = CliRunner().invoke(build_app(["import-checkpoint"]), arguments)
    assert result.exit_code == 0, result.output
    assert "mos, scoreq, utmos, nisqa_mos, distill_mos from wavlm" in result.output
    refused = CliRunner().invoke(build_app(["import-checkpoint"]), arguments[:4])
    assert refused.exit_code == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "model_card.json"])
def test_a_model_that_is_there_is_replaced_only_with_overwrite(tmp_path: Path, name: str) -> None:
    pytest.importorskip("transformers", reason="the encoder is built with it")
    there = tmp_path / name
    there.write_text("precious")
    arguments = ["import-checkpoint", str(GOLDEN / "urgentmos.pt"), "-o", str(tmp_path),
                 "--trained-after-fix", "--encoder", str(GOLDEN / "encoder")]  # fmt: skip
    app = build_app(["import-checkpoint"])
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert (
        "holds a model already: replace it with --overwrite, or write to another" in refused.stderr
    )
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
    replaced = CliRunner().invoke(app, [*arguments, "--overwrite"])
    assert replaced.exit_code == 0, replaced.output
    assert there.read_bytes() != b"precious"
