import contextlib
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch

from urgentmos.labels.distill_mos import DistillMos
from urgentmos.labels.labeller import LabelError


@pytest.fixture
def packages_model(package) -> torch.nn.Module:
    with contextlib.redirect_stdout(io.StringIO()):
        return package("distillmos").ConvTransformerSQAModel().eval()


# Mostly padding; some; less padding than the margin; two windows.
@pytest.mark.parametrize("samples", [400, 40_000, 121_900, 130_001])
def test_equals_the_package(
    packages_model: torch.nn.Module, speech: Callable[..., np.ndarray], samples: int
) -> None:
    recording = speech(seconds=samples / 16000)
    with torch.inference_mode():
        expected = packages_model(torch.from_numpy(recording)[None]).item()
    value = DistillMos().label(recording, None)["distill_mos"]
    assert value == pytest.approx(expected, abs=1e-5)


def test_bfloat16_is_near_and_says_so(package, reference: np.ndarray) -> None:
    package("distillmos")
    exact, rough = DistillMos(), DistillMos(precision="bfloat16")
    difference = (
        rough.label(reference, None)["distill_mos"] - exact.label(reference, None)["distill_mos"]
    )
    assert abs(difference) < 0.03
    assert exact.version.endswith("float32")
    assert rough.version.endswith("bfloat16")


def test_prints_nothing(package, reference: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    package("distillmos")
    DistillMos().label(reference, None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        (np.zeros(16000, dtype=np.float32), "silent recording"),
        (np.ones(399, dtype=np.float32), "too short: 399 samples"),
    ],
)
def test_refuses_what_has_no_value(package, recording: np.ndarray, reason: str) -> None:
    package("distillmos")
    with pytest.raises(LabelError, match=reason):
        DistillMos().label(recording, None)
