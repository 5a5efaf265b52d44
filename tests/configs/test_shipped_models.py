"""The configurations of the models that come with the package."""

from dataclasses import replace
from pathlib import Path

from urgentmos.config import load_config
from urgentmos.model.checkpoint import find_model, load_model
from urgentmos.model.network import build_assessor
from urgentmos.training.config import RunConfig
from urgentmos.training.start_from import start_from

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def test_the_default_model_is_what_its_config_says() -> None:
    model = load_config(RunConfig, CONFIGS / "default.yaml").model
    assert load_model("default").config == model


def test_the_default_model_is_the_accurate_one_with_a_copy_of_its_trunk() -> None:
    default, accurate = (
        load_config(RunConfig, CONFIGS / f"{n}.yaml") for n in ("default", "accurate")
    )
    assert default.model.encoders[:-1] == accurate.model.encoders[:-1]
    # Those of one metric were made smaller.
    widened = {
        name: replace(group, feedforward=192) if len(group.metrics) == 1 else group
        for name, group in default.model.groups.items()
    }
    assert widened == accurate.model.groups
    assert default.teacher is not None
    assert default.teacher.encoder == accurate.model.encoders[-1]
    assert default.teacher.student == len(default.model.encoders) - 1


def test_the_accurate_model_starts_from_its_encoders_trained_from_scratch() -> None:
    scratch = load_config(RunConfig, ROOT / "recipes" / "default" / "from_scratch.yaml")
    accurate = load_config(RunConfig, CONFIGS / "accurate.yaml")
    assert accurate.model.encoders[:-1] == scratch.model.encoders
    assert accurate.model.groups == scratch.model.groups


def test_training_on_own_data_starts_with_every_weight_of_the_default_model() -> None:
    run = load_config(RunConfig, CONFIGS / "own_data.yaml")
    assert run.start_from == "default"
    assert start_from(build_assessor(run.model), run.start_from).random == []


def test_the_accurate_model_starts_from_where_its_first_stage_ends() -> None:
    scratch = load_config(RunConfig, ROOT / "recipes" / "default" / "from_scratch.yaml")
    accurate = load_config(RunConfig, CONFIGS / "accurate.yaml")
    assert accurate.start_from == f"{scratch.output}/final"


def test_fast_is_another_name_of_the_default() -> None:
    assert find_model("fast") == find_model("default")
