from collections.abc import Callable

import numpy as np
import pytest

from urgentmos.labels.dnsmos import Dnsmos, DnsmosP808, cut_windows
from urgentmos.labels.labeller import LabelError

NAMES = {
    "ovrl_mos": "dnsmos_ovrl",
    "sig_mos": "dnsmos_sig",
    "bak_mos": "dnsmos_bak",
    "p808_mos": "dnsmos_p808",
}


# One window of the doubled recording; seven, of which four differ; two without doubling.
@pytest.mark.parametrize("seconds", [5.0, 4.0, 11.0])
def test_equals_speechmos(package, speech: Callable[..., np.ndarray], seconds: float) -> None:
    recording = speech(seconds=seconds)
    expected = package("speechmos.dnsmos").run(recording, 16000)
    ours = Dnsmos().label(recording, None)
    assert ours == {
        name: pytest.approx(expected[theirs], abs=1e-4) for theirs, name in NAMES.items()
    }


def test_p808_alone_is_the_same_number(package, reference: np.ndarray) -> None:
    package("speechmos.dnsmos")
    alone = DnsmosP808().label(reference, None)
    assert alone == {"dnsmos_p808": Dnsmos().label(reference, None)["dnsmos_p808"]}


def test_repeated_windows_are_cut_from_the_same_place() -> None:
    recording = np.arange(64_000, dtype=np.float32)
    windows = cut_windows(recording)
    assert [start for start, _ in windows] == [0, 16000, 32000, 48000, 0, 16000, 32000]
    np.testing.assert_array_equal(windows[0][1], windows[4][1])


def test_clips_samples_beyond_full_scale(package, reference: np.ndarray) -> None:
    package("speechmos.dnsmos")
    loud = (8 * reference).astype(np.float32)
    assert np.abs(loud).max() > 1
    clipped = np.clip(loud, -1, 1)
    assert DnsmosP808().label(loud, None) == DnsmosP808().label(clipped, None)


def test_refuses_silence(package) -> None:
    package("speechmos.dnsmos")
    with pytest.raises(LabelError, match="silent recording"):
        Dnsmos().label(np.zeros(16000, dtype=np.float32), None)
