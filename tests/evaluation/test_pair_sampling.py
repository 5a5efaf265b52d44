from urgentmos.evaluation.pair_sampling import PairSampler, share_out
from urgentmos.evaluation.ratings import RatedCorpus


def test_a_missing_recording_takes_only_its_own_pairs_out(corpora: list[RatedCorpus]) -> None:
    corpus = corpora[0]
    whole = PairSampler(corpus, salt="x").sample("neither", 400)
    less = RatedCorpus(corpus.name, corpus.recordings[1:])
    part = PairSampler(less, salt="x").sample("neither", 400)
    kept = {tuple(pair) for pair in whole.pairs.tolist() if 0 not in pair}
    assert kept <= {tuple(place + 1 for place in pair) for pair in part.pairs.tolist()}


def test_what_one_category_cannot_fill_goes_to_the_others() -> None:
    assert share_out(10, [1, 100, 100]) == [1, 5, 4]
    assert share_out(10, [2, 3]) == [2, 3]
    assert share_out(9, [9, 9, 9]) == [3, 3, 3]
    assert share_out(0, [1]) == [0]
    assert sum(share_out(1000, [7, 400, 333, 900])) == 1000
