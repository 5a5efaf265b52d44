import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from urgentmos.data.corpora.preparation import Prepared, prepare
from urgentmos.data.corpora.recipe import Recipe

RECIPES = Path(__file__).parents[2] / "recipes"

Write = Callable[[str, str], Path]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """An empty folder to lay a miniature corpus out in."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    return folder


@pytest.fixture
def write(corpus: Path) -> Write:
    """Write a text file of the corpus: ``write("sets/TRAINSET", "...")``."""

    def write_text(name: str, text: str) -> Path:
        path = corpus / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_text


@pytest.fixture
def audio(corpus: Path) -> Callable[..., Path]:
    """Write half a second of audio of the corpus: ``audio("wav/a.wav")``."""

    def write_audio(name: str, seconds: float = 0.5) -> Path:
        path = corpus / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(int(8000 * seconds)) + 0.1, 8000)
        return path

    return write_audio


@pytest.fixture
def prepare_corpus(corpus: Path, tmp_path: Path) -> Callable[[str], Prepared]:
    """Run a recipe on the miniature: ``prepare_corpus("bvcc")``; manifests go to ``manifests``."""
    return lambda name: prepare(load_recipe(name), corpus, tmp_path / "manifests")


def run_script(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script of a recipe, by its path in ``recipes``, and give its status and output."""
    command = [sys.executable, RECIPES / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def load_script(script: str) -> ModuleType:
    """Import a script of a recipe, by its path in ``recipes``; it is in no package."""
    name = script.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def modules_of_recipe(recipe: str, *names: str) -> Iterator[dict[str, ModuleType]]:
    """Import scripts of a recipe as one that runs does: they import each other by name."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPES / recipe)
        yield {name: importlib.import_module(name) for name in names}
        beside = {path.stem for path in (RECIPES / recipe).iterdir()}
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in beside:
                sys.modules.pop(name)


def load_recipe(name: str) -> Recipe:
    """Give the ``RECIPE`` of ``recipes/<name>/prepare.py``."""
    recipe: Recipe = load_script(f"{name}/prepare.py").RECIPE
    return recipe
