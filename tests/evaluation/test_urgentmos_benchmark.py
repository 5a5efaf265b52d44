from pathlib import Path

from urgentmos.data.manifest import Pair
from urgentmos.evaluation.pair_sets import build_pair_set
from urgentmos.evaluation.urgentmos_benchmark import count_table


def test_pairs_are_counted_beside_those_of_the_paper_where_it_has_the_corpus() -> None:
    pairs = [Pair(Path("a.wav"), Path("b.wav"), 1.0, (1.0, 1.0))]
    sets = [build_pair_set(name, pairs) for name in ("chime7_udase", "mine")]
    known, own = count_table(sets).rows
    assert (known["pairs"], known["Table 3"], known["difference"]) == (1, 2560, -2559)
    assert (own["pairs"], own["Table 3"], own["difference"]) == (1, None, None)
