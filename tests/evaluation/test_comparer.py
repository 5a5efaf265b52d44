from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos.data.manifest import Pair
from urgentmos.evaluation.comparer import PreferenceComparer
from urgentmos.evaluation.pair_sets import build_pair_set, pair_rated_corpus
from urgentmos.evaluation.ratings import read_rated_corpora
from urgentmos.model.assessor import Assessor
from urgentmos.scoring import compare_files


def test_comparing_many_pairs_equals_comparing_each(rated: Path, tiny_assessor: Assessor) -> None:
    (corpus,) = read_rated_corpora(rated)
    pairs = pair_rated_corpus(corpus, ordered=True)
    preferences, _, consistency = PreferenceComparer(tiny_assessor).prefer(pairs)
    assert len(pairs.pairs) == 18
    assert 0.0 <= consistency <= 1.0
    for row in (0, 7, 17):
        a, b = (soundfile.read(pairs.paths[i], dtype="float32")[0] for i in pairs.pairs[row])
        expected = tiny_assessor.compare(a, b, 16000)
        assert preferences.leanings[row] == pytest.approx(expected.p_a - expected.p_b, abs=1e-5)


def test_unreadable_recording_gives_no_answer_for_its_pairs_only(
    rated: Path, tiny_assessor: Assessor
) -> None:
    broken = rated.parent / "broken.wav"
    broken.write_bytes(b"not audio")
    good = [rated.parent / "0_0.wav", rated.parent / "1_0.wav"]
    pairs = build_pair_set(
        "p", [Pair(good[0], broken, 1.0, (1.0, 1.0)), Pair(good[0], good[1], 1.0, (1.0, 1.0))]
    )
    preferences = PreferenceComparer(tiny_assessor).prefer(pairs).preferences
    assert np.isnan(preferences.leanings).tolist() == [True, False]


def test_long_recordings_and_silent_edges_are_compared_as_the_assessor_does(
    tmp_path: Path, speech, tiny_assessor: Assessor
) -> None:
    # Of 1, 2 and 3 windows, the second within digital silence.
    short, longer, longest = (speech(seconds=s, seed=int(s)) for s in (1.0, 20.0, 40.0))
    silence = np.zeros(8000, dtype=np.float32)
    waveforms = [short, np.concatenate([silence, longer, silence]), longest]
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, waveform in zip(paths, waveforms, strict=True):
        soundfile.write(path, waveform, 16000, subtype="FLOAT")
    members = [(0, 1), (1, 2), (2, 0)]
    pairs = build_pair_set("p", [Pair(paths[a], paths[b], 1.0, (1.0, 1.0)) for a, b in members])
    found = PreferenceComparer(tiny_assessor).prefer(pairs).preferences
    for leaning, (a, b) in zip(found.leanings, members, strict=True):
        expected = tiny_assessor.compare(
            waveforms[a].astype(np.float32), waveforms[b].astype(np.float32), 16000
        )
        assert leaning == pytest.approx(expected.p_a - expected.p_b, abs=1e-5)


def test_files_of_another_rate_with_silent_edges_are_compared_as_compare_files_does(
    tmp_path: Path, speech, tiny_assessor: Assessor
) -> None:
    # Loud to its edges: resampled with the silence around it, it would ring into that.
    silence = np.zeros(24000, dtype=np.float32)
    paths = [tmp_path / f"{seed}.wav" for seed in range(2)]
    for seed, path in enumerate(paths):
        waveform = np.concatenate([silence, speech(seconds=0.5, seed=seed), silence])
        soundfile.write(path, waveform, 48000, subtype="FLOAT")
    pairs = build_pair_set("p", [Pair(*paths, 1.0, (1.0, 1.0))])
    found = PreferenceComparer(tiny_assessor).prefer(pairs).preferences
    (expected,) = compare_files(tiny_assessor, [(paths[0], paths[1])])
    assert expected.preference is not None
    leaning = expected.preference.p_a - expected.preference.p_b
    assert found.leanings[0] == pytest.approx(leaning, abs=1e-6)


def test_one_order_is_the_head_alone_and_both_orders_are_their_mean(
    rated: Path, tiny_assessor: Assessor
) -> None:
    (corpus,) = read_rated_corpora(rated)
    comparer = PreferenceComparer(tiny_assessor)
    pairs = pair_rated_corpus(corpus, ordered=True)
    both, one_order, _ = comparer.prefer(pairs)
    place = {tuple(pair): row for row, pair in enumerate(pairs.pairs.tolist())}
    swapped = [place[b, a] for a, b in pairs.pairs.tolist()]
    np.testing.assert_allclose(
        both.leanings, (one_order.leanings - one_order.leanings[swapped]) / 2, atol=1e-5
    )
    # The head of a random model does not mirror by itself, or this would test nothing.
    assert np.abs(one_order.leanings + one_order.leanings[swapped]).max() > 1e-4
