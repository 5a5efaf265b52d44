from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from urgentmos.config import ConfigError, differences, from_dict, load_config, save_config, to_dict
from urgentmos.model.config import ModelConfig


@dataclass
class Part:
    size: int
    rate: float = 1.0
    kind: Literal["near", "far"] = "near"


@dataclass
class Whole:
    part: Part
    parts: list[Part] = field(default_factory=list)
    by_name: dict[str, Part] = field(default_factory=dict)
    limit: float | None = None
    strides: tuple[int, ...] = ()
    span: tuple[int, float] = (0, 1.0)
    folder: Path = Path("here")
    loud: bool = False
    anything: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise ValueError("limit must not be negative")


FULL = {
    "part": {"size": 2, "rate": 3, "kind": "far"},
    "parts": [{"size": 1}, {"size": 2}],
    "by_name": {"left": {"size": 4}},
    "limit": 2.5,
    "strides": [1, 2],
    "span": [3, 4],
    "folder": "there",
    "loud": True,
    "anything": {"a": [1, {"b": None}]},
}


def test_nested_data_becomes_nested_dataclasses() -> None:
    whole = from_dict(Whole, FULL, where="run")
    assert whole.part == Part(2, 3.0, "far")
    assert whole.parts == [Part(1), Part(2)]
    assert whole.by_name == {"left": Part(4)}
    assert whole.folder == Path("there")
    assert whole.strides == (1, 2)
    assert whole.span == (3, 4.0)


@pytest.mark.parametrize("name", ["whole.yaml", "whole.json"])
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, name: str) -> None:
    whole = from_dict(Whole, FULL, where="run")
    save_config(whole, tmp_path / name)
    assert load_config(Whole, tmp_path / name) == whole


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"part": {"size": 1, "ratte": 2}}, r"run\.part: unknown key 'ratte'; .*'rate'"),
        ({"part": {}}, r"run\.part: key 'size' is missing"),
        ({"part": {"size": "2"}}, r"run\.part\.size: expected int, got '2' \(str\)"),
        ({"part": {"size": True}}, r"run\.part\.size: expected int, got True"),
        ({"part": {"size": 1.0}}, r"run\.part\.size: expected int, got 1\.0"),
        ({"part": {"size": 1, "kind": "up"}}, r"run\.part\.kind: .*'near', 'far', got 'up'"),
        ({"part": 3}, r"run\.part: expected keys and values, got 3"),
        ({"part": {"size": 1}, "parts": {"size": 1}}, r"run\.parts: expected a list"),
        ({"part": {"size": 1}, "parts": [{}]}, r"run\.parts\.0: key 'size' is missing"),
        ({"part": {"size": 1}, "by_name": {"a": {"x": 1}}}, r"run\.by_name\.a: unknown key 'x'"),
        ({"part": {"size": 1}, "limit": "much"}, r"run\.limit: expected float, got 'much'"),
        ({"part": {"size": 1}, "limit": -1}, r"run: limit must not be negative"),
        ({"part": {"size": 1}, "loud": 1}, r"run\.loud: expected bool, got 1"),
        ({"part": {"size": 1}, "limit": float("nan")}, r"run\.limit: expected float, got nan"),
        ({"part": {"size": 1}, "span": [1, 2, 3]}, r"run\.span: expected a list of 2 items"),
        ({"part": {"size": 1}, "span": [1]}, r"run\.span: expected a list of 2 items"),
        ({"part": {"size": 1}, "limit": 10**400}, r"run\.limit: expected float, got an integer"),
        ([1], r"run: expected keys and values"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(Whole, data, where="run")


@pytest.mark.parametrize("number", ["3e-5", "-3e-5", "+3E5", "3.e5"])
def test_scientific_notation_is_a_number_whatever_its_sign_and_point(
    tmp_path: Path, number: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"{{size: 1, rate: {number}}}")
    assert load_config(Part, path).rate == float(number)


def test_of_several_types_that_do_not_fit_the_first_is_told() -> None:
    @dataclass
    class Either:
        level: int | Part | None = None

    with pytest.raises(ConfigError, match=r"run\.level: expected int, got 'high'"):
        from_dict(Either, {"level": "high"}, where="run")


def test_names_of_any_alphabet_are_saved_as_they_are_read(tmp_path: Path) -> None:
    save_config(Whole(Part(1), folder=Path("naïve 音")), tmp_path / "run.yaml")
    assert "naïve 音" in (tmp_path / "run.yaml").read_text(encoding="utf-8")


def test_overrides_reach_into_mappings_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    save_config(from_dict(Whole, FULL, where="run"), path)
    overrides = ["part.size=7", "parts.1.kind=far", "limit=null", "anything.new.deep=[1, 2]"]
    whole = load_config(Whole, path, overrides)
    assert whole.part.size == 7
    assert [part.kind for part in whole.parts] == ["near", "far"]
    assert whole.limit is None
    assert whole.anything["new"] == {"deep": [1, 2]}
    assert whole.by_name == {"left": Part(4)}


@dataclass
class Mixture:
    inner: Part
    weights: dict[str, float] = field(default_factory=lambda: {"a": 1.0, "b": 2.0})
    shares: tuple[float, ...] = (0.25, 0.75)


@dataclass
class Outer:
    mixture: Mixture
    size: int = 1


@pytest.mark.parametrize(
    ("stated", "weights"),
    [
        ("", {"a": 1.0, "b": 3.0}),
        ("  weights: {c: 5.0}", {"c": 5.0, "b": 3.0}),
        ("  weights: {}", {"b": 3.0}),
    ],
)
def test_an_override_of_a_part_leaves_the_rest_as_stated_or_as_by_default(
    tmp_path: Path, stated: str, weights: dict[str, float]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"mixture:\n  inner: {{size: 1}}\n{stated}\n")
    overrides = ["mixture.weights.b=3.0", "mixture.shares.1=0.5", "mixture.inner.rate=2.0"]
    mixture = load_config(Outer, path, overrides).mixture
    assert mixture == Mixture(Part(1, 2.0), weights, (0.25, 0.5))
    assert load_config(Outer, path, ["mixture.weights={b: 3.0}"]).mixture.weights == {"b": 3.0}


def test_differences_are_named_by_their_keys() -> None:
    before = from_dict(Whole, FULL, where="run")
    after = from_dict(Whole, {**FULL, "limit": None, "part": {"size": 3}}, where="run")
    assert differences(before, before) == []
    assert "part.size: 2 → 3" in differences(before, after)
    assert differences(before, after)[-1] == "limit: 2.5 → None"


def test_without_a_file_overrides_change_the_defaults() -> None:
    assert load_config(Part, None, ["size=4"]) == Part(4)
    with pytest.raises(ConfigError, match="defaults: key 'size' is missing"):
        load_config(Part, None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("part.size", "expected a.b.c=value"),
        ("part.siz=3", "unknown key 'siz'; did you mean 'size'"),
        ("parts.5.size=3", "expected an index below 2, got '5'"),
        ("parts.2.size=3", "expected an index below 2, got '2'"),
        ("limit.x=3", "'x' is inside 2.5, which has no keys"),
        ("limit=[", "not valid YAML"),
        ("part={size: 1, size: 2}", "override .*: key 'size' is in line 1 and again in line 1"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    save_config(from_dict(Whole, FULL, where="run"), path)
    with pytest.raises(ConfigError, match=message):
        load_config(Whole, path, [override])


def test_broken_yaml_is_refused_by_file_name(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: [")
    with pytest.raises(ConfigError, match=r"run\.yaml: not valid YAML"):
        load_config(Part, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size: 1\nrate: 2.0\nsize: 3\n", r"'size' is in line 1 and again in line 3"),
        ("{size: 1, size: 1}", r"'size' is in line 1 and again in line 1"),
        ('{"size": 1, "rate": {"a": [{"b": 1, "b": 2}]}}', "'b' is in line 1"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(Part, path)


def test_an_anchor_may_be_named_many_times(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("part: &part {size: 1}\nparts: [*part, {<<: *part, size: 2}]\n")
    assert [part.size for part in load_config(Whole, path).parts] == [1, 2]


def test_yaml_cannot_construct_objects(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("size: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(Part, path)


def test_a_model_config_survives_a_round_trip(tiny_config: ModelConfig) -> None:
    assert from_dict(ModelConfig, to_dict(tiny_config), where="model") == tiny_config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoders": []}, "at least one encoder"),
        ({"groups": {}}, "at least one metric group"),
        ({"preference": {"group": "speaker"}}, r"preference\.group is 'speaker'; the groups are"),
        ({"groups": {"a": {"metrics": ["moss"]}}}, r"groups\.a: unknown metric 'moss'"),
        ({"groups": {"a": {"metrics": ["mos"]}, "b": {"metrics": ["mos"]}}}, "'mos' is in group"),
        ({"level": "loud"}, "expected one of 'rms', 'none'"),
        (
            {"bounds": {"mos": [1.0, float("inf")]}},
            r"bounds\.mos: expected at most 1e\+06, and null",
        ),
        ({"bounds": {"mos": [-1e308, 1e308]}}, r"bounds\.mos: expected at most 1e\+06"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(
    tiny_config: ModelConfig, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(ModelConfig, {**to_dict(tiny_config), **change}, where="model")
