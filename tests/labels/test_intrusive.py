"""What every intrusive label does alike: it needs a sounding reference of the same length."""

import numpy as np
import pytest

from urgentmos.labels.catalogue import LABELLERS
from urgentmos.labels.labeller import LabelError, Labeller

# Those that download a network compute nothing here: they refuse before they load it.
INTRUSIVE = [name for name, tool in LABELLERS.items() if tool.needs_reference]


@pytest.fixture(params=INTRUSIVE)
def labeller(request: pytest.FixtureRequest) -> Labeller:
    tool = LABELLERS[request.param]
    if not tool.installed:
        pytest.skip(f"{request.param} needs {', '.join(tool.modules)}")
    return tool.build("float32")


def test_refuses_a_recording_without_reference(labeller: Labeller, noisy: np.ndarray) -> None:
    with pytest.raises(LabelError, match=r"^no reference$"):
        labeller.label(noisy, None)


def test_refuses_a_silent_reference(labeller: Labeller, noisy: np.ndarray) -> None:
    with pytest.raises(LabelError, match="silent reference"):
        labeller.label(noisy, np.zeros_like(noisy))


def test_refuses_a_silent_recording(labeller: Labeller, reference: np.ndarray) -> None:
    with pytest.raises(LabelError, match="silent recording"):
        labeller.label(np.zeros_like(reference), reference)


def test_refuses_lengths_that_differ(labeller: Labeller, reference: np.ndarray) -> None:
    with pytest.raises(LabelError, match=r"31999 samples.*32000"):
        labeller.label(reference, reference[:-1])
