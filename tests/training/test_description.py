from dataclasses import replace

from urgentmos.model.network import build_assessor
from urgentmos.training.config import RunConfig
from urgentmos.training.description import describe

from .conftest import MakeRun


def row(text: str, name: str) -> list[int]:
    line = next(line for line in text.splitlines() if line.startswith(name + " "))
    return [int(number.replace(",", "")) for number in line.split()[-2:]]


def test_parameters_are_those_of_the_built_network(make_run: MakeRun) -> None:
    run = make_run()
    network = build_assessor(run.model)
    text = describe(run)
    assert row(text, "all") == [sum(p.numel() for p in network.parameters()), 0]
    fusion = sum(p.numel() for p in network.fusion.parameters())
    assert row(text, "fusion") == [fusion, 0]


def test_encoders_groups_and_memory_are_told(make_run: MakeRun) -> None:
    text = describe(make_run())
    assert "log_mel: " in text
    assert "frames/s, width 12" in text
    assert "noise_and_distortion: pesq, sdr, lsd" in text
    assert "MiB for weights" in text


def test_a_description_needs_no_data(make_run: MakeRun) -> None:
    run: RunConfig = make_run()
    run = replace(run, data=replace(run.data, manifests=["nowhere.jsonl"]))
    assert describe(run)
