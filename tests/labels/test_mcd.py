import itertools

import numpy as np
import pytest

from urgentmos.labels.labeller import LabelError
from urgentmos.labels.mcd import Mcd, warping_path


def test_is_zero_for_the_reference_at_any_level(reference: np.ndarray) -> None:
    assert Mcd().label(reference, reference)["mcd"] == pytest.approx(0.0, abs=1e-5)
    quieter = (0.25 * reference).astype(np.float32)
    assert Mcd().label(quieter, reference)["mcd"] == pytest.approx(0.0, abs=1e-2)


def test_rises_with_noise(reference: np.ndarray) -> None:
    noise = np.random.default_rng(2).standard_normal(len(reference)).astype(np.float32)
    values = [
        Mcd().label(reference + level * noise, reference)["mcd"]
        for level in np.float32([0.001, 0.01, 0.1])
    ]
    assert values == sorted(values)
    assert values[0] > 0.1


def test_equals_the_definition_on_sptks_cepstra(
    package, reference: np.ndarray, noisy: np.ndarray
) -> None:
    sptk = package("pysptk").sptk
    window = sptk.hamming(1024)
    gain = reference.astype(np.float64) @ noisy / (noisy.astype(np.float64) @ noisy)

    def cepstra(waveform: np.ndarray) -> np.ndarray:
        views = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), 1024)[::256]
        return sptk.mcep(np.ascontiguousarray(views * window), 23, 0.42, eps=1e-6, etype=1)

    ours, theirs = cepstra(gain * noisy), cepstra(reference)
    distance = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    expected = (10 / np.log(10) * np.sqrt(2) * distance[warping_path(distance)]).mean()
    assert Mcd().label(noisy, reference)["mcd"] == pytest.approx(expected, abs=1e-5)


def test_warping_path_is_the_cheapest_of_all_paths() -> None:
    distance = np.random.default_rng(0).uniform(size=(4, 5))

    def costs(row: int, column: int) -> list[float]:
        if (row, column) == (3, 4):
            return [distance[row, column]]
        steps = ((row + 1, column), (row, column + 1), (row + 1, column + 1))
        inside = [step for step in steps if step[0] < 4 and step[1] < 5]
        return [distance[row, column] + rest for step in inside for rest in costs(*step)]

    rows, columns = warping_path(distance)
    assert distance[rows, columns].sum() == pytest.approx(min(costs(0, 0)))
    path = list(zip(rows.tolist(), columns.tolist(), strict=True))
    assert path[0] == (0, 0)
    assert path[-1] == (3, 4)
    for (row, column), (next_row, next_column) in itertools.pairwise(path):
        assert (next_row - row, next_column - column) in {(0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize(("samples", "reason"), [(1023, "too short"), (960_001, "too long")])
def test_refuses_lengths_without_a_value(samples: int, reason: str) -> None:
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    with pytest.raises(LabelError, match=f"{reason} for MCD: {samples}"):
        Mcd().label(noise, noise)
