import numpy as np
import pytest

from urgentmos.labels.labeller import LabelError
from urgentmos.labels.pesq import Pesq, narrow_band_pesq


@pytest.mark.parametrize("name", ["pesq", "pesqc2"])
def test_gives_the_highest_score_to_the_reference_itself(
    package, reference: np.ndarray, name: str
) -> None:
    package(name)
    assert Pesq(package=name).label(reference, reference)[name] == pytest.approx(4.644, abs=1e-3)


def test_equals_the_package(package, reference: np.ndarray, noisy: np.ndarray) -> None:
    expected = package("pesq").pesq(16000, reference, noisy, "wb")
    assert Pesq().label(noisy, reference) == {"pesq": pytest.approx(expected, abs=1e-6)}
    assert expected < 4


def test_corrigendum_2_is_milder_on_noise(
    package, reference: np.ndarray, noisy: np.ndarray
) -> None:
    package("pesqc2")
    corrected = Pesq(package="pesqc2").label(noisy, reference)["pesqc2"]
    assert corrected > Pesq().label(noisy, reference)["pesq"]


def test_narrow_band_gives_the_published_maximum_to_the_reference_itself(
    package, reference: np.ndarray
) -> None:
    package("pesq")
    assert narrow_band_pesq(reference[::2], reference[::2]) == pytest.approx(4.549, abs=1e-3)


def test_refuses_less_than_a_quarter_of_a_second(package, reference: np.ndarray) -> None:
    package("pesq")
    with pytest.raises(LabelError, match=r"3900 samples, under 0\.25 s"):
        Pesq().label(reference[:3900], reference[:3900])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("NoUtterancesError", "found no utterance"),
        ("OutOfMemoryError", "PESQ failed: boom"),
    ],
)
def test_tells_why_the_package_refused(
    package, monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray, error: str, reason: str
) -> None:
    module = package("pesq")

    def refuse(*args: object) -> float:
        raise getattr(module, error)("boom")

    monkeypatch.setattr(module, "pesq", refuse)
    with pytest.raises(LabelError, match=reason):
        Pesq().label(noisy, noisy)


def test_nan_is_no_score(package, monkeypatch: pytest.MonkeyPatch, noisy: np.ndarray) -> None:
    monkeypatch.setattr(package("pesq"), "pesq", lambda *args: float("nan"))
    with pytest.raises(LabelError, match="gave no number"):
        Pesq().label(noisy, noisy)
