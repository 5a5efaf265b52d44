import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from urgentmos import silence
from urgentmos.silence import SILENCE_LEVEL, EdgeSilence, drop_edge_silence, is_silent


def _streamed(waveform: np.ndarray, block: int) -> tuple[np.ndarray, EdgeSilence]:
    edges = EdgeSilence()
    blocks = (waveform[start : start + block] for start in range(0, len(waveform), block))
    return np.concatenate([np.zeros(0, np.float32), *edges.drop(blocks)]), edges


@settings(max_examples=100, deadline=None)
@given(
    parts=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=8),
    block=st.integers(1, 60),
)
def test_a_stream_and_an_array_lose_the_same_silence(
    parts: list[tuple[bool, int]], block: int
) -> None:
    waveform = np.concatenate([np.full(n, 0.5 * loud, np.float32) for loud, n in parts])
    streamed, edges = _streamed(waveform, block)
    kept, lengths = drop_edge_silence(
        torch.from_numpy(waveform)[None], torch.tensor([len(waveform)])
    )
    np.testing.assert_array_equal(streamed, kept[0].numpy())
    assert lengths.tolist() == [len(streamed)]
    assert edges.num_before + len(streamed) + edges.num_after == len(waveform)
    if waveform.any():
        np.testing.assert_array_equal(streamed, np.trim_zeros(waveform))
    else:
        np.testing.assert_array_equal(streamed, waveform)


def test_the_quietest_sound_stays_and_what_is_below_it_goes() -> None:
    quiet, silent = 2 * SILENCE_LEVEL, 0.5 * SILENCE_LEVEL
    waveform = np.array([silent, quiet, -silent, 0.3, -quiet, silent], np.float32)
    streamed, edges = _streamed(waveform, 2)
    np.testing.assert_array_equal(streamed, np.array([quiet, -silent, 0.3, -quiet], np.float32))
    assert (edges.num_before, edges.num_after) == (1, 1)


def test_digital_silence_is_140_db_below_full_scale_which_the_last_of_24_bits_is_not() -> None:
    waveform = np.array([1e-7, 2.0**-23, 1e-7], np.float32)
    streamed, _ = _streamed(waveform, 3)
    kept, _ = drop_edge_silence(torch.from_numpy(waveform)[None], torch.tensor([3]))
    assert streamed.tolist() == kept[0].tolist() == [2.0**-23]


def test_each_recording_of_a_batch_loses_its_own_and_padding_is_ignored() -> None:
    waveform = torch.tensor([[0.0, 1.0, 2.0, 0.0, 9.0], [3.0, 0.0, 4.0, 5.0, 6.0], [0.0] * 5])
    kept, lengths = drop_edge_silence(waveform, torch.tensor([4, 5, 2]))
    assert lengths.tolist() == [2, 5, 2]
    assert kept.tolist() == [[1.0, 2.0, 0.0, 0.0, 0.0], [3.0, 0.0, 4.0, 5.0, 6.0], [0.0] * 5]


def test_edges_are_found_in_whatever_blocks_they_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    waveform = torch.from_numpy(rng.standard_normal((3, 29)) * (rng.random((3, 29)) > 0.8))
    waveform[2] = 0.0
    lengths = torch.tensor([29, 24, 20])
    whole = drop_edge_silence(waveform, lengths)
    for block in (1, 7, 28, 29):
        monkeypatch.setattr(silence, "_SEARCHED_AT_ONCE", block)
        kept, kept_lengths = drop_edge_silence(waveform, lengths)
        assert torch.equal(kept, whole[0])
        assert torch.equal(kept_lengths, whole[1])
    trimmed = [np.trim_zeros(row[:length]) for row, length in zip(waveform, lengths, strict=True)]
    assert whole[1].tolist() == [len(trimmed[0]), len(trimmed[1]), 20]


def test_gradient_reaches_the_samples_that_are_kept() -> None:
    waveform = torch.tensor([[0.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0]], requires_grad=True)
    kept, _ = drop_edge_silence(waveform, torch.tensor([4, 3]))
    kept.sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.tolist() == [[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]]


def test_nan_is_no_silence() -> None:
    kept, lengths = drop_edge_silence(torch.tensor([[np.nan, 0.0, 1.0]]), torch.tensor([3]))
    assert lengths.tolist() == [3]
    assert bool(kept[0, 0].isnan())


def test_silent_is_what_peaks_below_70_db_whatever_its_offset_or_padding() -> None:
    tone = torch.sin(torch.arange(1600.0))
    quiet, loud = 3.1e-4 * tone, 3.3e-4 * tone
    padded = torch.cat([quiet[:800], torch.ones(800)])
    batch = torch.stack([quiet, loud, quiet + 0.5, padded, loud * torch.nan])
    lengths = torch.tensor([1600, 1600, 1600, 800, 1600])
    assert is_silent(batch, lengths).tolist() == [True, False, True, True, False]
    # Zeros in the padding lie outside of what is above or below zero throughout.
    offset = torch.stack([quiet + 0.5, quiet - 0.5])
    offset[:, 800:] = 0.0
    assert is_silent(offset, torch.tensor([800, 800])).tolist() == [True, True]
