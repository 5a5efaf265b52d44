"""The commands that give the papers' tables name files, options and settings that there are."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from urgentmos.cli import COMMANDS, build_app
from urgentmos.config import load_config
from urgentmos.labels.catalogue import resolve_labels
from urgentmos.training.config import RunConfig

from .conftest import RECIPES

ROOT = RECIPES.parent
PAPERS = ["urgentmos_preference", "mos_rmbench"]
_STUB = """#!/bin/sh
printf '%s\\000' {name} "$@" >> {log}
printf '\\001' >> {log}
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for bash")


def _called(readme: Path, scratch: Path) -> list[list[str]]:
    """Run a README's commands with stand-ins for the programs, and give what these were asked."""
    log = scratch / "log"
    for name in ("urgentmos", "python"):
        (scratch / name).write_text(_STUB.format(name=name, log=log))
        (scratch / name).chmod(0o755)
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```", readme.read_text(), re.DOTALL | re.M))
    path = f"{scratch}:{os.environ['PATH']}"
    subprocess.run(["bash", "-euc", script], check=True, cwd=scratch, env={"PATH": path})
    return [call.split("\0")[:-1] for call in log.read_text().split("\1")[:-1]]


def _parsed(command: str, arguments: list[str]) -> dict[str, object]:
    app = typer.main.get_command(build_app(COMMANDS))
    return app.commands[command].make_context(command, list(arguments)).params


def _is_prepared(manifest: Path) -> bool:
    corpora = [path.parent.name for path in RECIPES.glob("*/prepare.py")]
    return any(manifest.stem == name or manifest.stem.startswith(f"{name}_") for name in corpora)


@pytest.mark.parametrize("recipe", PAPERS)
def test_every_command_could_be_run(recipe: str, tmp_path: Path) -> None:
    calls = _called(RECIPES / recipe / "README.md", tmp_path)
    trained: set[str] = set()
    made: set[Path] = set()
    commands = []
    for program, first, *rest in calls:
        if program == "python":
            file = ROOT / first
            code = (file / "__main__.py" if file.is_dir() else file).read_text()
            long_options = [option for option in rest if option.startswith("--")]
            assert all(f'"{option}"' in code for option in long_options), (first, rest)
            if file.name == "prepare.py":
                made.add(Path(rest[rest.index("-o") + 1]))
            continue
        commands.append(first)
        given = _parsed(first, rest)
        if first == "train":
            run = load_config(RunConfig, ROOT / str(given["config"]), given["overrides"] or [])
            trained.add(run.output)
        elif first == "label":
            assert resolve_labels(str(given["labels"]).split(","))
            folder = Path(str(given["output"])).parent
            assert folder in made or (tmp_path / folder).is_dir()
        else:
            resolve_labels(given["peer"] or [])
            assert all(str(Path(model).parent) in trained for model in given["model"] or [])
            assert all(_is_prepared(Path(manifest)) for manifest in given["manifests"])
    assert {"train", "evaluate"} <= set(commands)


def test_what_the_list_of_tables_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (RECIPES / "README.md").read_text())
    assert links
    assert not [link for link in links if not (RECIPES / link).exists()]


def test_the_ablation_trains_pairs_in_one_order_and_changes_nothing_else(tmp_path: Path) -> None:
    calls = _called(RECIPES / "urgentmos_preference" / "README.md", tmp_path)
    (call,) = (call for call in calls if "objectives.mirrored_pairs=false" in call)
    config = ROOT / "configs" / "urgentmos" / "f1c1m5_ref.yaml"
    mirrored, ablated = load_config(RunConfig, config), load_config(RunConfig, config, call[3:])
    assert (mirrored.objectives.mirrored_pairs, ablated.objectives.mirrored_pairs) == (True, False)
    ablated.objectives.mirrored_pairs, ablated.output = True, mirrored.output
    assert ablated == mirrored
