import ast
from pathlib import Path

import urgentmos
from urgentmos import audio, rates
from urgentmos.model.config import ModelConfig


def test_models_state_their_rate_in_one_place() -> None:
    stated = [
        path.name
        for path in (Path(urgentmos.__file__).parent / "model").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == 16000
    ]
    assert stated == []
    assert ModelConfig.sample_rate == audio.SAMPLE_RATE == rates.SAMPLE_RATE
