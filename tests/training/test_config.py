from typing import Any

import pytest

from urgentmos.config import ConfigError, from_dict, to_dict
from urgentmos.training.config import RunConfig

from .conftest import MakeRun


def changed(run: RunConfig, dotted: str, value: Any) -> dict[str, Any]:
    plain = to_dict(run)
    *path, last = dotted.split(".")
    place = plain
    for key in path:
        place = place[key]
    place[last] = value
    return plain


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("data.manifests", [], "manifests: expected at least one"),
        ("data.manifests", ["a/m.jsonl", "a/../a/m.jsonl"], "a/m.jsonl more than once"),
        ("data.pair_manifests", ["p.jsonl", "p.jsonl"], "pair_manifests: expected each file once"),
        ("data.pairs", {"reff": 1}, "unknown matching 'reff'; known: ref, corpus, any, strength"),
        ("data.pairs", {"ref": -1}, r"pairs.ref: expected a weight of 0 or more"),
        ("data.pairs", {}, "preference and bradley_terry need pairs"),
        ("data.validation_share", 1.0, "validation_share: expected 0 to below 1"),
        ("data.min_share", 0.0, "min_share: expected above 0"),
        ("data.delta", -0.1, "delta: expected 0 or more"),
        ("data.min_seconds", -1.0, "min_seconds: expected 0 or more"),
        ("data.max_seconds", 0.0, "max_seconds: expected above 0"),
        ("data.workers", -1, "workers: expected 0 or more"),
        ("data.batch_seconds", float("inf"), "batch_seconds: expected a bound, got inf"),
        ("data.batch_seconds", 0.7, "cannot hold two recordings of up to max_seconds"),
        ("objectives.preference", 0.0, "an untrained head must not be shipped"),
        ("model.preference", None, "an untrained head must not be shipped"),
        ("objectives.qamro", -1.0, "qamro: expected a weight of 0 or more"),
        ("objectives.regression", "mae", "expected one of 'mse', 'l1', 'huber'"),
        ("objectives.metric_weights", {"peqs": 1.0}, "unknown metric 'peqs'"),
        ("objectives.metric_weights", {"mcd": 1.0}, "the model does not predict 'mcd'"),
        ("objectives.metric_weights", {"pesq": 0.0}, "nothing would train the head of 'pesq'"),
        ("objectives.absolute", 0.0, "nothing would train the head of 'pesq'"),
        ("optimizer.lr", 0.0, "lr and clip: expected above 0"),
        ("optimizer.lr", float("nan"), r"optimizer.lr: expected float, got nan"),
        ("optimizer.lr", float("inf"), "lr and weight_decay: expected finite numbers, got inf"),
        ("optimizer.weight_decay", float("inf"), "lr and weight_decay: expected finite numbers"),
        ("data.batch_seconds", float("nan"), "batch_seconds: expected float, got nan"),
        ("optimizer.weight_decay", -0.1, "weight_decay: expected 0 or more"),
        ("optimizer.betas", [0.9, 1.0], "betas: expected two of 0 to below 1"),
        ("optimizer.accumulate", 0, "accumulate: expected at least 1"),
        ("optimizer.ema_decay", 1.0, "ema_decay: expected 0 to below 1"),
        ("optimizer.lrr", 1.0, "did you mean 'lr'"),
        ("steps", 0, "expected at least 1"),
        ("seed", -1, "seed: expected 0 or more"),
        ("seed", 2**64, "seed: expected 0 or more, below 2\\^63"),
        ("max_minutes", -1.0, "max_minutes: expected 0 or more"),
    ],
)
def test_a_run_that_cannot_be_meant_is_refused(
    make_run: MakeRun, key: str, value: Any, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        from_dict(RunConfig, changed(make_run(), key, value), where="run")


def test_no_objective_at_all_is_refused(make_run: MakeRun) -> None:
    plain = changed(make_run(), "objectives.absolute", 0.0)
    plain["objectives"]["preference"] = 0.0
    with pytest.raises(ConfigError, match="every objective has weight 0"):
        from_dict(RunConfig, plain, where="run")


def test_a_ranking_objective_needs_a_mos_head(make_run: MakeRun) -> None:
    plain = changed(make_run(), "objectives.qamro", 1.0)
    plain["model"]["groups"]["naturalness"]["metrics"] = ["utmos"]
    with pytest.raises(ConfigError, match="rank the 'mos' score"):
        from_dict(RunConfig, plain, where="run")


def test_metric_weights_take_public_names(make_run: MakeRun) -> None:
    plain = changed(make_run(), "objectives.metric_weights", {"mos_overall": 2.0})
    run = from_dict(RunConfig, plain, where="run")
    assert run.objectives.metric_weights == {"mos": 2.0}
