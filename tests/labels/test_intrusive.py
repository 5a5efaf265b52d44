"""What every intrusive label does alike: it needs a sounding reference, most of the same length."""

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


@pytest.mark.parametrize("name", [name for name in INTRUSIVE if LABELLERS[name].aligned])
def test_what_is_compared_moment_by_moment_has_one_length(name: str, reference: np.ndarray) -> None:
    if not LABELLERS[name].installed:
        pytest.skip(f"{name} needs {', '.join(LABELLERS[name].modules)}")
    with pytest.raises(LabelError, match=r"31999 samples.*32000"):
        LABELLERS[name].build("float32").label(reference, reference[:-1])


def test_speaker_content_and_phonemes_are_compared_as_a_whole() -> None:
    whole = {name for name in INTRUSIVE if not LABELLERS[name].aligned}
    assert whole == {"spksim", "sbert", "lps"}
