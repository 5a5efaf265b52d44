"""The preference benchmark of UrgentMOS: ordered pairs of one reference, counted as in Table 3."""

from collections.abc import Sequence

from urgentmos.evaluation.pair_sets import BENCHMARK_CAP, PairSet
from urgentmos.evaluation.tables import Table

TABLE_3 = {
    "nisqa_p501": 14_160,
    "nisqa_for": 6_496,
    "somos": 7_250,
    "tmhint_qi": 16_708,
    "chime7_udase": 2_560,
    "urgent2024_sqa": BENCHMARK_CAP,
    "urgent2025_sqa": BENCHMARK_CAP,
}
"""Pairs that the paper counts, by the names that the recipes give the corpora."""


def count_table(pair_sets: Sequence[PairSet]) -> Table:
    """Count pairs beside the paper's Table 3; the difference is what is not the paper's corpus."""
    table = Table("Pairs", "Ordered pairs of recordings of one reference, capped at 100,000.")
    for pairs in pair_sets:
        count, published = len(pairs.pairs), TABLE_3.get(pairs.name)
        table.rows.append(
            {
                "corpus": pairs.name,
                "pairs": count,
                "Table 3": published,
                "difference": None if published is None else count - published,
            }
        )
    return table
