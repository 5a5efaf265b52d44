"""The configurations of the models that come with the package."""

from pathlib import Path

from urgentmos.config import load_config
from urgentmos.model.checkpoint import find_model, load_model
from urgentmos.training.config import RunConfig

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_default_model_is_what_its_config_says() -> None:
    model = load_config(RunConfig, CONFIGS / "default.yaml").model
    assert load_model("default").config == model


def test_the_accurate_model_is_the_default_one_and_the_trunk() -> None:
    default, accurate = (
        load_config(RunConfig, CONFIGS / f"{n}.yaml") for n in ("default", "accurate")
    )
    assert accurate.model.encoders[:-1] == default.model.encoders
    assert accurate.model.encoders[-1] == (default.teacher and default.teacher.encoder)
    assert accurate.model.groups == default.model.groups


def test_fast_is_another_name_of_the_default() -> None:
    assert find_model("fast") == find_model("default")
