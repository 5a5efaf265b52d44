import numpy as np
import pytest

from urgentmos.labels.estoi import Estoi
from urgentmos.labels.labeller import LabelError


def test_equals_pystoi(package, reference: np.ndarray, noisy: np.ndarray) -> None:
    stoi = package("pystoi").stoi
    np.random.seed(0)  # noqa: NPY002 - pystoi draws from the global generator
    expected = stoi(reference, noisy, 16000, extended=True)
    assert Estoi().label(noisy, reference) == {"estoi": expected}
    assert 0 < expected < 0.99


def test_gives_the_same_number_twice_and_leaves_the_generator_alone(
    package, reference: np.ndarray, noisy: np.ndarray
) -> None:
    package("pystoi")
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert Estoi().label(noisy, reference) == Estoi().label(noisy, reference)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("samples", [100, 400, 5000])
def test_refuses_too_little_speech_instead_of_the_packages_placeholder(
    package, reference: np.ndarray, samples: int
) -> None:
    package("pystoi")
    with pytest.raises(LabelError, match="30 frames"):
        Estoi().label(reference[:samples], reference[:samples])
