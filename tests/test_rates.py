import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import urgentmos
from urgentmos import audio, rates
from urgentmos.model.assessor import Assessor
from urgentmos.model.config import ModelConfig

Speech = Callable[..., np.ndarray]


def test_models_state_their_rate_in_one_place() -> None:
    stated = [
        path.name
        for path in (Path(urgentmos.__file__).parent / "model").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == 16000
    ]
    assert stated == []
    assert ModelConfig.sample_rate == audio.SAMPLE_RATE == rates.SAMPLE_RATE


@pytest.mark.parametrize("rate", [np.uint16(22050), np.int32(22050), torch.tensor(22050)])
def test_rates_of_other_libraries_become_whole_numbers_of_python(rate: object) -> None:
    checked = rates.check_rate(rate)
    assert checked == 22050
    assert type(checked) is int


def test_a_narrow_rate_does_not_overflow(tiny_assessor: Assessor, speech: Speech) -> None:
    waveform = torch.from_numpy(np.stack([speech(3.0, sample_rate=48000)] * 2))
    loss = urgentmos.QualityLoss(model=tiny_assessor)
    expected = tiny_assessor.score(waveform, 48000)
    for rate in (np.uint16(48000), np.int32(48000), torch.tensor(48000)):
        scores = tiny_assessor.score(waveform, rate)
        assert all(scores[name].equal(expected[name]) for name in scores)
        assert loss(waveform, sample_rate=rate).equal(loss(waveform, sample_rate=48000))
