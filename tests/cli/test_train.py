from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from urgentmos.cli import build_app
from urgentmos.config import to_dict
from urgentmos.model.config import ModelConfig

runner = CliRunner()


@pytest.fixture
def config(tiny_config: ModelConfig, tmp_path: Path) -> Path:
    """A run of the tiny model on a manifest that does not exist."""
    run = {
        "model": to_dict(tiny_config),
        "data": {"manifests": [str(tmp_path / "missing.jsonl")]},
        "output": str(tmp_path / "run"),
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(run))
    return path


def test_a_dry_run_describes_the_model_and_touches_nothing(config: Path, tmp_path: Path) -> None:
    result = runner.invoke(build_app(["train"]), ["train", str(config), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "metrics per group" in result.output
    assert not (tmp_path / "run").exists()


def test_an_override_with_a_wrong_key_is_a_usage_error_in_words(config: Path) -> None:
    result = runner.invoke(build_app(["train"]), ["train", str(config), "optimizer.lrr=1"])
    assert result.exit_code == 2
    assert "unknown key 'lrr'; did you mean 'lr'?" in result.output


def test_a_missing_manifest_is_a_usage_error_that_names_it(config: Path) -> None:
    result = runner.invoke(build_app(["train"]), ["train", str(config)])
    assert result.exit_code == 2
    assert "missing.jsonl" in result.output
