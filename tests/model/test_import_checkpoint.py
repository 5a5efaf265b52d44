"""Public checkpoints, written by the public code with random weights, imported and scored.

``golden_public_checkpoint`` was made by ``tools/parity_with_public_code.py --keep``: the
checkpoints, the encoder's configuration, and what the public code says of three recordings.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import urgentmos
from urgentmos.model.checkpoint import CheckpointError, load_model
from urgentmos.model.import_checkpoint import ImportCheckpointError, import_checkpoint
from urgentmos.model.restricted_pickle import RestrictedPickleError

pytest.importorskip("transformers")

GOLDEN = Path(__file__).parent / "golden_public_checkpoint"
CLASSES = "metric2comparative_score_predictor.mos_overall.classification_head.bias"
TOOL = Path(__file__).parents[2] / "tools" / "parity_with_public_code.py"


@pytest.fixture(scope="module")
def tool() -> Any:
    """The script that made the golden files; its half that uses this package."""
    spec = importlib.util.spec_from_file_location("parity_with_public_code", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(source: Path, output: Path, **options: Any) -> Any:
    defaults = {"trained_after_fix": True, "encoder": str(GOLDEN / "encoder")}
    return import_checkpoint(source, output, **{**defaults, **options})


@pytest.mark.parametrize("name", ["urgentmos", "universa"])
def test_imported_model_says_what_the_public_code_says(name, tool, tmp_path):
    expected = json.loads((GOLDEN / "expected.json").read_text())[name]
    run(GOLDEN / f"{name}.pt", tmp_path)
    ours = tool.score(load_model(tmp_path), compare_pairs="cmos" in expected)
    for theirs, each in zip(expected["scores"], ours["scores"], strict=True):
        for metric, value in theirs.items():
            assert each[metric] == pytest.approx(value, abs=1e-4)
    if "cmos" in expected:
        torch.testing.assert_close(
            torch.tensor(ours["cmos"]), torch.tensor(expected["cmos"]), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            torch.tensor(ours["logits"]), torch.tensor(expected["logits"]), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("name", ["urgentmos", "universa"])
def test_the_script_tells_the_largest_difference_and_what_is_no_number(name, tool):
    expected = json.loads((GOLDEN / "expected.json").read_text())[name]
    assert tool.compare(name, expected, GOLDEN) < tool.TOLERANCE
    expected["scores"][1]["utmos"] += 0.5
    assert tool.compare(name, expected, GOLDEN) == pytest.approx(0.5, abs=1e-4)
    expected["scores"][1]["utmos"] = float("nan")
    assert np.isnan(tool.compare(name, expected, GOLDEN))


def test_imported_model_needs_neither_pickle_nor_encoder_any_more(tmp_path):
    run(GOLDEN / "urgentmos.pt", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["encoders"][0]["options"]["pretrained"] is False
    assert config["encoders"][0]["options"]["architecture"]["hidden_size"] == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "model.safetensors", "model_card.json",
    ]  # fmt: skip


def test_imported_model_is_taken_by_the_loss(tmp_path):
    run(GOLDEN / "urgentmos.pt", tmp_path)
    loss = urgentmos.QualityLoss(weights={"mos": 1.0}, model=tmp_path)
    waveform = (torch.randn(1, 8000) * 0.1).requires_grad_()
    loss(waveform).backward()
    assert waveform.grad is not None
    assert waveform.grad.abs().sum() > 0


def test_local_checkpoint_of_unknown_age_is_refused(tmp_path):
    with pytest.raises(ImportCheckpointError, match="nothing in a local file tells"):
        run(GOLDEN / "urgentmos.pt", tmp_path, trained_after_fix=False)
    assert not list(tmp_path.iterdir())


def test_universa_never_had_the_wrong_axis(tmp_path):
    run(GOLDEN / "universa.pt", tmp_path, trained_after_fix=False)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """A Hub that has the golden checkpoint, committed on a given day."""
    import huggingface_hub

    def install(day: datetime) -> None:
        commit = SimpleNamespace(oid="abc123", date=day)
        api = SimpleNamespace(
            get_paths_info=lambda name, paths, expand: [SimpleNamespace(last_commit=commit)]
        )
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
        monkeypatch.setattr(
            huggingface_hub,
            "hf_hub_download",
            lambda name, file, revision: str(GOLDEN / "urgentmos.pt"),
        )

    return install


def test_checkpoint_from_before_the_fix_is_refused_by_its_date_on_the_hub(hub, tmp_path):
    hub(datetime(2026, 6, 23, tzinfo=timezone.utc))
    with pytest.raises(ImportCheckpointError, match="committed on 2026-06-23, before 2026-06-24"):
        run("urgent-challenge/urgent-mos-f1c1m5dref", tmp_path)


def test_checkpoint_from_after_the_fix_is_taken_from_the_hub(hub, tmp_path):
    hub(datetime(2026, 6, 24, tzinfo=timezone.utc))
    run("urgent-challenge/urgent-mos-f1c1m5dref", tmp_path, trained_after_fix=False)
    card = json.loads((tmp_path / "model_card.json").read_text())
    assert card["imported_from"] == "urgent-challenge/urgent-mos-f1c1m5dref@abc123"


def test_public_name_is_loaded_by_importing_it_once(hub, monkeypatch, tmp_path):
    import huggingface_hub

    from urgentmos.model import import_checkpoint as module

    hub(datetime(2026, 6, 24, tzinfo=timezone.utc))
    (tmp_path / "snapshot").mkdir()
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / "snapshot")
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    real, calls = module.import_checkpoint, []

    def counted(source: str, output: Path) -> Any:
        calls.append(source)
        return real(source, output, encoder=str(GOLDEN / "encoder"))

    monkeypatch.setattr(module, "import_checkpoint", counted)
    first = urgentmos.load("urgent-challenge/urgent-mos-f1c1m5dref")
    second = urgentmos.load("urgent-challenge/urgent-mos-f1c1m5dref")
    assert first.model_hash == second.model_hash
    assert calls == ["urgent-challenge/urgent-mos-f1c1m5dref"]

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(get_paths_info=fail))
    found = urgentmos.load("urgent-challenge/urgent-mos-f1c1m5dref")
    assert found.model_hash == first.model_hash
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    found = urgentmos.load("urgent-challenge/urgent-mos-f1c1m5dref")
    assert found.model_hash == first.model_hash
    with pytest.raises(CheckpointError, match="no network"):
        urgentmos.load("urgent-challenge/urgent-mos-f1c1m5dcorpus")


def test_two_processes_may_import_at_once(hub, monkeypatch, tmp_path):
    from urgentmos.model import import_checkpoint as module

    hub(datetime(2026, 6, 24, tzinfo=timezone.utc))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    real = module.import_checkpoint

    def overtaken(source: str, output: Path) -> Any:
        monkeypatch.setattr(module, "import_checkpoint", real_with_encoder)
        other = module.import_from_hub(source)
        assert other.is_dir()
        return real_with_encoder(source, output)

    def real_with_encoder(source: str, output: Path) -> Any:
        return real(source, output, encoder=str(GOLDEN / "encoder"))

    monkeypatch.setattr(module, "import_checkpoint", overtaken)
    folder = module.import_from_hub("urgent-challenge/urgent-mos-f1c1m5dref")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    checkpoint = torch.load(GOLDEN / "urgentmos.pt", weights_only=True)  # noqa: TID251
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "changed.pt")
    return tmp_path / "changed.pt"


def test_surplus_weight_is_refused(tmp_path):
    source = changed(tmp_path, lambda c: c["model"].update({"shared_encoder.x": torch.ones(1)}))
    with pytest.raises(ImportCheckpointError, match=r"no place for shared_encoder\.x"):
        run(source, tmp_path / "out")


def test_missing_head_is_refused(tmp_path):
    name = "metric2absolute_score_predictor.utmos.prediction_head.bias"
    source = changed(tmp_path, lambda c: c["model"].pop(name))
    with pytest.raises(ImportCheckpointError, match=r"lacks 1 of .*: heads\.utmos\.linear\.bias$"):
        run(source, tmp_path / "out")


def test_weight_of_another_shape_is_refused(tmp_path):
    name = "feature_extractor.feat_proj.0.weight"
    source = changed(tmp_path, lambda c: c["model"].update({name: torch.ones(3, 3)}))
    with pytest.raises(ImportCheckpointError, match=r"fusion\.projection\.weight has shape"):
        run(source, tmp_path / "out")


def test_weight_of_another_type_is_refused(tmp_path):
    name = "feature_extractor.feat_proj.1.bias"
    source = changed(tmp_path, lambda c: c["model"].update({name: c["model"][name].to(torch.int8)}))
    with pytest.raises(ImportCheckpointError, match=r"norm\.bias is of type torch\.int8"):
        run(source, tmp_path / "model", trained_after_fix=True)


@pytest.mark.parametrize("stub", ["width", "layers"])
def test_a_checkpoint_of_stubs_is_refused_before_its_model_takes_memory(stub, tmp_path):
    layers = "category2encoder.mos.layers."

    def change(checkpoint: dict[str, Any]) -> None:
        weights = checkpoint["model"]
        if stub == "layers":
            weights.update(dict.fromkeys((f"{layers}{n}.x" for n in range(3000)), torch.ones(1)))
            return
        # A few bytes each, that ask for linear layers of a terabyte.
        wide = torch.ones(1).expand(1 << 20)
        weights["feature_extractor.feat_proj.0.bias"] = wide
        weights[f"{layers}0.linear1.bias"] = wide

    source = changed(tmp_path, change)
    with pytest.raises(
        ImportCheckpointError, match=r"^changed\.pt does not describe a model: .*the"
    ):
        run(source, tmp_path / "out")


def test_checkpoint_without_configuration_is_refused(tmp_path):
    source = changed(tmp_path, lambda c: c.pop("config"))
    with pytest.raises(ImportCheckpointError, match="does not hold its configuration"):
        run(source, tmp_path / "out")


def test_checkpoint_without_weights_is_refused(tmp_path):
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(ImportCheckpointError, match="no weights under 'model'"):
        run(tmp_path / "other.pt", tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["config"]["model"].pop("category2encoder"),
        lambda c: c["config"].update(model=["a list"]),
        lambda c: c["model"].pop("feature_extractor.feat_proj.0.bias"),
        lambda c: c.update(model=torch.ones(2)),
        lambda c: c.update(model=[torch.ones(2)]),
        lambda c: c["model"].update({CLASSES: torch.ones(2)}),
    ],
)
def test_checkpoint_of_another_format_is_refused(change, tmp_path):
    with pytest.raises(ImportCheckpointError, match="neither of the formats known here"):
        run(changed(tmp_path, change), tmp_path / "out")


@pytest.mark.parametrize(("option", "value"), [("norm_first", True), ("activation", "gelu")])
def test_layers_that_weights_do_not_tell_apart_are_refused(option, value, tmp_path):
    def change(checkpoint: dict[str, Any]) -> None:
        encoder = checkpoint["config"]["model"]["category2encoder"]
        encoder["encoder_cfg"]["encoder_layer"][option] = value

    with pytest.raises(ImportCheckpointError, match=f"layers of {option}={value}, and those here"):
        run(changed(tmp_path, change), tmp_path / "out")


def test_a_value_that_holds_another_a_million_times_is_told_by_its_type(tmp_path):
    grown: Any = ()
    for _ in range(20):
        grown = (grown, grown)

    def as_activation(checkpoint: dict[str, Any]) -> None:
        encoder = checkpoint["config"]["model"]["category2encoder"]
        encoder["encoder_cfg"]["encoder_layer"]["activation"] = grown

    def as_heads(checkpoint: dict[str, Any]) -> None:
        encoder = checkpoint["config"]["model"]["category2encoder"]
        encoder["encoder_cfg"]["encoder_layer"]["nhead"] = grown

    def as_encoder(checkpoint: dict[str, Any]) -> None:
        extractor = checkpoint["config"]["model"]["feature_extractor"]
        extractor["feature_extractors"][0]["model_name"] = grown

    for change, message, encoder in (
        (as_activation, "layers of activation=tuple", str(GOLDEN / "encoder")),
        (as_heads, r"groups\.mos\.heads: expected int, got .*\(tuple\)$", str(GOLDEN / "encoder")),
        (as_encoder, "expected the name of an encoder, got tuple$", None),
        (
            lambda c: c["config"]["model"]["category2metrics"].update({grown: {}}),
            "expected the name of a group or metric, got tuple$",
            str(GOLDEN / "encoder"),
        ),
    ):
        source = changed(tmp_path, change)
        with pytest.raises(ImportCheckpointError, match=message) as caught:
            run(source, tmp_path / "out", encoder=encoder)
        assert len(str(caught.value)) < 300

    source = changed(tmp_path, lambda c: c["model"].update({grown: 1}))
    with pytest.raises(RestrictedPickleError, match=r"expected names of tensors, got tuple$"):
        run(source, tmp_path / "out")


def test_range_that_is_no_number_is_refused(tmp_path):
    name = "metric2absolute_score_predictor.mos_overall.activation.min_value"
    source = changed(tmp_path, lambda c: c["model"].update({name: torch.tensor(torch.nan)}))
    with pytest.raises(ImportCheckpointError, match=r"bounds\.mos_overall\.0: expected .* got nan"):
        run(source, tmp_path / "out")


def heads_of_groups(checkpoint: dict[str, Any], number: object) -> None:
    encoder = checkpoint["config"]["model"]["category2encoder"]
    encoder["encoder_cfg"]["encoder_layer"]["nhead"] = number


def heads_of_preference(checkpoint: dict[str, Any], number: object) -> None:
    checkpoint["config"]["model"]["metric2comparative_score_predictor"]["num_heads"] = number


def lowest(checkpoint: dict[str, Any], value: torch.Tensor) -> None:
    name = "metric2absolute_score_predictor.mos_overall.activation.min_value"
    checkpoint["model"][name] = value


def unknown_metric(checkpoint: dict[str, Any], name: str) -> None:
    checkpoint["config"]["model"]["category2metrics"]["mos"][name] = {}
    for bound in ("min", "max"):
        predictor = f"metric2absolute_score_predictor.{name}"
        checkpoint["model"][f"{predictor}.activation.{bound}_value"] = torch.tensor(1.0)


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        (heads_of_groups, 0, "0 heads do not divide"),
        (heads_of_groups, 3, "3 heads do not divide"),
        (heads_of_groups, 2.0, "expected int, got 2.0"),
        (heads_of_groups, True, "expected int, got True"),
        (heads_of_preference, 0, "0 heads do not divide"),
        (heads_of_preference, 2.0, "expected int, got 2.0"),
        (lowest, torch.tensor(9.0), "expected low < high, got 9.0 and 5.0"),
        (lowest, torch.ones(2), r"a single number as .*\.min_value, got shape \(2,\)"),
        (unknown_metric, "foo", "unknown metric 'foo'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_file(change, value, message, tmp_path):
    source = changed(tmp_path, lambda checkpoint: change(checkpoint, value))
    with pytest.raises(ImportCheckpointError, match=rf"^changed\.pt: .*{message}"):
        run(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_cannot_be_read_is_told_with_the_name_of_the_file(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImportCheckpointError, match=r"^urgentmos\.pt: .*empty has no config\.json"):
        run(GOLDEN / "urgentmos.pt", tmp_path / "out", encoder=str(tmp_path / "empty"))


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_rows_of_universa_that_no_metric_has_are_refused(part, tmp_path):
    checkpoint = torch.load(GOLDEN / "universa.pt", weights_only=True)  # noqa: TID251
    rows = checkpoint["model"][f"metric_proj.{part}"]
    checkpoint["model"][f"metric_proj.{part}"] = torch.cat([rows, rows])
    torch.save(checkpoint, tmp_path / "changed.pt")
    with pytest.raises(
        ImportCheckpointError, match=rf"^changed\.pt: metric_proj\.{part} has 10 row"
    ):
        run(tmp_path / "changed.pt", tmp_path / "out")


def test_code_in_a_checkpoint_is_refused(tmp_path):
    source = changed(tmp_path, lambda c: c.update({"hook": torch.nn.Linear(1, 1)}))
    with pytest.raises(RestrictedPickleError, match="nothing was run"):
        run(source, tmp_path / "out")


@pytest.mark.parametrize("name", ["nope.pt", "~nosuchuser/nope.pt", "nope" * 1250])
def test_missing_file_is_told_without_asking_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.setattr("urgentmos.model.import_checkpoint.require_hub", None)
    with pytest.raises(ImportCheckpointError, match=f"no file '{name}' here: expected a file"):
        run(name, tmp_path / "out")
    with pytest.raises(ImportCheckpointError, match=r"no file '.*/model\.pt' here: expected"):
        run(tmp_path, tmp_path / "out")


def test_unreachable_hub_is_told_in_words(monkeypatch, tmp_path):
    import huggingface_hub

    # The HTTP library of huggingface_hub: its errors come through, and are no OSError.
    library = sys.modules[huggingface_hub.errors.HfHubHTTPError.__bases__[0].__module__]

    def fail(*args: object, **kwargs: object) -> None:
        raise library.ConnectError("no network here")

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(get_paths_info=fail))
    with pytest.raises(ImportCheckpointError, match=r"no file 'org/nothing' here.*no network"):
        run("org/nothing", tmp_path)
