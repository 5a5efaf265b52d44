"""Options of everything in a model that is our own: what cannot be is refused, the rest runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import pytest
import torch

from urgentmos.config import ConfigError, from_dict, to_dict
from urgentmos.model.config import ModelConfig
from urgentmos.model.encoders import ENCODERS
from urgentmos.model.network import AssessorNetwork, build_assessor

from .encoders import tiny

_VALUES = (-1, 0, 1, 1.5, 2, float("inf"), "two", None)
_CAN_BE_ZERO = {"blocks", "layers", "dropout", "encoder", "dnsmos_bak", "lsd"}
_HEAD = {"channels": [6, 5], "dim": 4}
_OWN: dict[str, dict[str, Any]] = {
    "log_mel": {
        "dim": 4, "bands": 16, "channels": [4, 4], "time_strides": [4, 2],
        "frequency_strides": [4, 2], "blocks": 1, "expansion": 2,
    },
    "complex_spectrum": {
        "dim": 4, "channels": [4, 4], "time_strides": [4, 2], "frequency_strides": [8, 8],
        "blocks": 1, "expansion": 2,
    },
    "spectral_transformer": {
        **tiny.SPECTRAL_TRANSFORMER,
        "peak_head": {"metrics": ["dnsmos_bak"], **_HEAD},
        "frame_head": {"metrics": ["lsd"], "frame_dim": 4, **_HEAD},
    },
}  # fmt: skip


def model(family: str) -> dict[str, Any]:
    """State a small model in full, every option with its value."""
    options = to_dict(from_dict(ENCODERS[family].config_class, _OWN[family], where="options"))
    group = {"metrics": ["mos"], "layers": 1, "heads": 2, "feedforward": 8, "dropout": 0.1}
    stated: dict[str, Any] = {
        "encoders": [{"family": family, "options": options}],
        "fusion": {"dim": 8},
        "groups": {
            "naturalness": {**group, "metrics": ["mos", "dnsmos_bak"]},
            "noise_and_distortion": {**group, "metrics": ["lsd"]},
        },
        "preference": {"heads": 2},
    }
    if family == "spectral_transformer":
        stated["native_score"] = [{"encoder": 0, "shares": {"dnsmos_bak": 0.5, "lsd": 0.5}}]
    return stated


def numbers(stated: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Find where a configuration has numbers."""
    if isinstance(stated, bool | str) or stated is None:
        return []
    if isinstance(stated, int | float):
        return [place]
    items = stated.items() if isinstance(stated, Mapping) else enumerate(stated)
    return [found for key, each in items for found in numbers(each, (*place, key))]


def changed(stated: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    if isinstance(stated, list):
        return [changed(e, place[1:], value) if n == place[0] else e for n, e in enumerate(stated)]
    return {**stated, place[0]: changed(stated[place[0]], place[1:], value)}


@pytest.mark.parametrize(
    ("family", "place"),
    [(family, place) for family in _OWN for place in numbers(model(family))],
    ids=lambda each: each if isinstance(each, str) else ".".join(map(str, each)),
)
def test_a_number_is_refused_by_its_key_or_makes_a_model_that_scores(
    family: str, place: tuple[Any, ...]
) -> None:
    key = next(key for key in reversed(place) if isinstance(key, str))
    waveform = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    for value in _VALUES:
        network = built_or_refused(changed(model(family), place, value))
        if isinstance(network, str):
            assert key in network, value
            continue
        assert value > 0 or (value == 0 and key in _CAN_BE_ZERO)
        scores = network(waveform, torch.tensor([8000])).scores
        assert all(bool(torch.isfinite(score)) for score in scores.values()), value


def built_or_refused(stated: dict[str, Any]) -> AssessorNetwork | str:
    """Build a model, or give the words in which it is refused."""
    try:
        return build_assessor(from_dict(ModelConfig, stated, where="model"))
    except ConfigError as error:
        return str(error)


def test_what_pytorch_refuses_is_a_wrong_option(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: object) -> NoReturn:
        raise RuntimeError("not enough memory")

    family = replace(ENCODERS["log_mel"], build=fail)
    monkeypatch.setitem(ENCODERS, "log_mel", family)
    with pytest.raises(ConfigError, match=r"^model\.encoders\.0\.options: not enough memory"):
        build_assessor(from_dict(ModelConfig, model("log_mel"), where="model"))


def test_a_part_that_pytorch_refuses_is_named() -> None:
    stated = changed(model("log_mel"), ("groups", "naturalness", "feedforward"), 2**62)
    with pytest.raises(ConfigError, match=r"^model\.groups\.naturalness: "):
        build_assessor(from_dict(ModelConfig, stated, where="model"))
